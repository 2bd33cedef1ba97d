import base64, hmac, json, os
from http.server import BaseHTTPRequestHandler, HTTPServer
EXPECTED = b"Basic " + base64.b64encode(b"hook:secret")

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = hmac.compare_digest(self.headers.get("Authorization", "").encode(), EXPECTED)
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b"{}")
        if known: print(json.loads(body)["trigger"], flush=True)

HTTPServer(("127.0.0.1", int(os.environ.get("PORT", 9000))), Receiver).serve_forever()
