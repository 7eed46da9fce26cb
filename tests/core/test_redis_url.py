"""The URL that says where Redis is."""

import pytest

from authsvc.core import redis_url
from authsvc.core.redis_url import RedisUrl


def test_one_server_is_left_to_the_library() -> None:
    for url in ("redis://h:1/2?ssl_ca_certs=x", "rediss://u:p@h", "unix:///path?db=3", "unix://?path=a/b"):
        assert redis_url.read(url) == RedisUrl((url,))


def test_a_cluster_is_a_list_of_servers_with_the_same_credentials() -> None:
    read = redis_url.read("rediss+cluster://u:p%40%2C@one:7000,two,[::1]:7002/0?ssl_ca_certs=%2Fca.pem")
    assert read.cluster
    assert read.servers == tuple(
        f"rediss://u:p%40%2C@{address}?ssl_ca_certs=%2Fca.pem" for address in ("one:7000", "two:6379", "[::1]:7002")
    )


def test_sentinels_have_credentials_of_their_own() -> None:
    read = redis_url.read("redis+sentinel://u:p@one,two:2/main/3?sentinel_username=w&sentinel_password=a%2Fb&health=1")
    assert not read.cluster
    assert read.master == "main"
    assert read.servers == ("redis://u:p@one:26379/3?health=1",)
    assert read.sentinels == ("redis://w:a%2Fb@one:26379?health=1", "redis://w:a%2Fb@two:2?health=1")


def test_a_servers_address_is_replaced_and_the_rest_kept() -> None:
    assert redis_url.at("rediss://u:p@one:1?x=y", "two", 2) == "rediss://u:p@two:2?x=y"
    assert redis_url.at("redis://one:1", "::1", 2) == "redis://[::1]:2"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:6379", "must begin with"),
        ("http://h", "must begin with"),
        ("unix+cluster:///path", "must begin with"),
        ("redis+other://h", "must begin with"),
        ("redis+cluster://", "list its servers"),
        ("redis+cluster://one,,two", "list its servers"),
        ("redis+cluster://one:port", "list its servers"),
        ("redis+cluster://one:99999", "list its servers"),
        ("redis+cluster://one/1", "database 0"),
        ("redis+sentinel://one", "name the master"),
        ("redis+sentinel:///main", "list its servers"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        redis_url.read(url.replace("://", "://user:hidden@", 1))
    assert "hidden" not in str(refused.value)
