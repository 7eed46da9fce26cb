from authsvc import serve
from authsvc.core.settings import Settings

app = serve.web_app(Settings.read().for_service())
