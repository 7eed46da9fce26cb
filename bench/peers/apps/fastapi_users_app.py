"""fastapi-users, as its full example sets it up: a cookie, tokens in Redis, users in SQL."""

import os
import uuid
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, CookieTransport, RedisStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['PEER_FOLDER']}/peer.sqlite3")
maker = async_sessionmaker(engine, expire_on_commit=False)
tokens = redis.asyncio.from_url(os.environ["PEER_REDIS_URL"], decode_responses=True)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = os.environ["PEER_SECRET"]


async def sessions():
    async with maker() as session:
        yield session


async def database(session=Depends(sessions)):
    yield SQLAlchemyUserDatabase(session, User)


async def manager(db=Depends(database)):
    yield Manager(db)


class Read(schemas.BaseUser[uuid.UUID]):
    pass


class Create(schemas.BaseUserCreate):
    pass


class Update(schemas.BaseUserUpdate):
    pass


backend = AuthenticationBackend(
    name="cookie",
    transport=CookieTransport(cookie_name="session", cookie_secure=False),
    get_strategy=lambda: RedisStrategy(tokens, lifetime_seconds=3600),
)
users = FastAPIUsers[User, uuid.UUID](manager, [backend])


@asynccontextmanager
async def lifespan(_):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with maker() as session:
        wanted = Create(email="bench@example.org", password="correct horse battery staple")
        await Manager(SQLAlchemyUserDatabase(session, User)).create(wanted)
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(users.get_auth_router(backend), prefix="/auth")
app.include_router(users.get_users_router(Read, Update), prefix="/users")


@app.get("/healthz")
async def healthz():
    return "alive"
