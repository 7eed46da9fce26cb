import time, os, sys, pathlib
import pytest
from authsvc.web.app import create_app
from authsvc.domain.codes import Request
from authsvc.domain.sessions import Origin
from tests.web.relying_party import RelyingParty
import logging
@pytest.mark.parametrize("kind",["postgres_url"])
def test_bench(request, tmp_path, valkey, kind):
    from tests.conftest import make_settings
    from authsvc import services as parts
    url=request.getfixturevalue(kind)
    s=parts.build(make_settings(instance=tmp_path, database_url=url, redis_url=valkey.url))
    app=create_app(s)
    logging.disable(logging.INFO)
    a=s.accounts.create("anna@example.org","hash")
    own,_=s.sessions.create(a.id,0,amr=("pwd",),remember=False,origin=Origin("127.0.0.1","x"))
    c,secret=s.clients.create("Shop",redirect_uris=("https://shop.example/cb",))
    code=s.codes.issue(own,Request(c.id,"https://shop.example/cb",("openid","email"),"x","c"*43,None))
    g=s.grants.redeem(s.codes.find(code),refreshing=True)
    import urllib.parse, io
    from tests.web.relying_party import basic
    from werkzeug.test import EnvironBuilder, run_wsgi_app
    import json
    hdr={"Authorization":basic(c.id,secret)}
    def once(tok):
        body=urllib.parse.urlencode({"grant_type":"refresh_token","refresh_token":tok}).encode()
        env={"REQUEST_METHOD":"POST","PATH_INFO":"/oauth/token","SERVER_NAME":"x","SERVER_PORT":"80","wsgi.url_scheme":"http","wsgi.input":io.BytesIO(body),"CONTENT_LENGTH":str(len(body)),"CONTENT_TYPE":"application/x-www-form-urlencoded","HTTP_AUTHORIZATION":hdr["Authorization"],"HTTP_HOST":"x","wsgi.errors":sys.stderr,"wsgi.version":(1,0),"wsgi.multithread":True,"wsgi.multiprocess":False,"wsgi.run_once":False,"QUERY_STRING":"","SCRIPT_NAME":"","REMOTE_ADDR":"127.0.0.1"}
        out=[]
        b=b"".join(app.wsgi_app(env,lambda st,h,e=None: out.append(st)))
        return json.loads(b)["refresh_token"]
    t=g.refresh
    for _ in range(100): t=once(t)
    n=1000; t0=time.perf_counter(); c0=time.process_time()
    for _ in range(n): t=once(t)
    w=time.perf_counter()-t0; cpu=time.process_time()-c0
    print(f"\n{kind}: {n/w:.0f}/s wall, {n/cpu:.0f}/s own cpu")
    s.close()
