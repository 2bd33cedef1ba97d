// The socket (JSON-RPC 2.0, design 8) and how one message looks. No rule about whose message it is.

import { clock, element } from "/dev/dom.js";

export class ConnectionLost extends Error {}

export class CallRefused extends Error {
  constructor(error) {
    super(error.data?.message ?? error.message);
    this.code = error.data?.code ?? String(error.code);
    this.reason = error.data?.details?.reason;
  }
}

export class Socket {
  #socket;
  #waiting = new Map();
  #nextId = 1;

  constructor(onNotification, onClose) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(`${scheme}//${location.host}/v3/socket`);
    this.opened = new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", resolve);
      this.#socket.addEventListener("close", () => reject(new ConnectionLost("The socket could not be opened.")));
    });
    this.#socket.addEventListener("message", (event) => this.#receive(JSON.parse(event.data), onNotification));
    this.#socket.addEventListener("close", (event) => {
      for (const { reject } of this.#waiting.values()) reject(new ConnectionLost("The connection ended before the answer."));
      this.#waiting.clear();
      onClose(this, event);
    });
  }

  #receive(frame, onNotification) {
    if (frame.method) return onNotification(frame.method, frame.params ?? {});
    const waiting = this.#waiting.get(frame.id);
    this.#waiting.delete(frame.id);
    if (!waiting) return undefined;
    return frame.error ? waiting.reject(new CallRefused(frame.error)) : waiting.resolve(frame.result);
  }

  call(method, params) {
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(new ConnectionLost("Not connected."));
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      return this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  close() {
    this.#socket.close(1000);
  }
}

// --- One message in one pane --------------------------------------------------------------------

const TICKS = { sending: ["…", "Sending"], sent: ["✓", "Sent"], delivered: ["✓✓", "Delivered"], read: ["✓✓", "Read"] };

const receiptState = (message) => (message.readAt ? "read" : message.deliveredAt ? "delivered" : "sent");

export class MessageView {
  constructor(message, mine) {
    this.mine = mine;
    this.root = element("li", mine ? "message mine" : "message");
    this.root.dataset.testid = "message";
    this.update(message);
  }

  /** Known marks are kept: an answer may be older than a receipt that overtook it. */
  update(message) {
    const { deliveredAt, readAt } = this.message ?? {};
    this.message = { ...message, deliveredAt: message.deliveredAt ?? deliveredAt, readAt: message.readAt ?? readAt };
    this.draw(this.message.id ? receiptState(this.message) : "sending");
  }

  draw(state, reason, retry) {
    const { message, root } = this;
    root.dataset.state = state;
    root.classList.toggle("unsent", state === "dropped" || state === "failed");
    root.classList.toggle("deleted", Boolean(message.deletedAt));
    const text = message.deletedAt ? "This message was deleted." : message.data?.text ?? `[${message.type}]`;
    root.replaceChildren(element("p", "message-text", text));
    const injected = message.data?.metadata?.["@injected"]?.webhooks;
    if (injected) root.append(element("span", "injected", `@injected ${JSON.stringify(injected)}`));
    if (reason) root.append(element("p", "reason", reason));
    const foot = element("p", "message-foot");
    const note = message.editedAt ? "edited · " : "";
    foot.append(element("time", "", note + clock((message.sentAt ?? Date.now() / 1000) * 1000)));
    if (this.mine && TICKS[state]) foot.append(tick(state));
    if (retry) {
      const button = element("button", "link", "Try again");
      button.type = "button";
      button.addEventListener("click", retry);
      foot.append(button);
    }
    root.append(foot);
  }
}

function tick(state) {
  const [mark, label] = TICKS[state];
  const made = element("span", "tick", mark);
  made.dataset.testid = "tick";
  made.dataset.state = state;
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", label);
  made.title = label;
  return made;
}
