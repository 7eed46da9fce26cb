"""Flask-Security-Too, as its quick start sets it up: a signed cookie, and the user from SQL at each request."""

import os

from flask import Flask, jsonify, request
from flask_security import Security, SQLAlchemyUserDatastore, auth_required, current_user, hash_password, login_user
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["PEER_SECRET"],
    SECURITY_PASSWORD_SALT="146585145368132386173505678016728509634",
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{os.environ['PEER_FOLDER']}/peer.sqlite3",
    WTF_CSRF_ENABLED=False,
)
db = SQLAlchemy(app)
fsqla_v3.FsModels.set_db_info(db)


class Role(db.Model, fsqla_v3.FsRoleMixin):
    pass


class User(db.Model, fsqla_v3.FsUserMixin):
    pass


store = SQLAlchemyUserDatastore(db, User, Role)
Security(app, store)
with app.app_context():
    db.create_all()
    if not store.find_user(email="bench@example.org"):
        store.create_user(email="bench@example.org", password=hash_password("correct horse battery staple"))
        db.session.commit()


@app.post("/login-here")
def login():
    login_user(store.find_user(email=request.get_json()["email"]))
    return jsonify(done=True)


@app.get("/whoami")
@auth_required("session")
def whoami():
    return jsonify(id=current_user.fs_uniquifier, email=current_user.email)


@app.get("/healthz")
def healthz():
    return "alive"
