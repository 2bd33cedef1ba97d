import base64, hmac, json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
EXPECTED = b"Basic " + base64.b64encode(b"hook:secret")

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    wbufsize = -1  # sends each answer in one piece

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = hmac.compare_digest(self.headers.get("Authorization", "").encode(), EXPECTED)
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        if known: print(json.loads(body)["trigger"], flush=True)

ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 9000))), Receiver).serve_forever()
