// The try-it page: two sample users side by side, each on a socket of their own, and every webhook
// that they cause. What people or endpoints wrote reaches the page as text only, never as markup.

import { CallRefused, ConnectionLost, MessageView, Socket } from "/dev/chat.js";
import { byId, call, report, withJson } from "/dev/dom.js";
import { offerModes, watchWebhooks } from "/dev/inbox.js";

const TYPING_IDLE_MS = 2000;
const TYPING_SHOWN_MS = 15000;
// Long enough for the eye to see "delivered" before "read".
const READ_AFTER_MS = 600;

function deviceIdOf(uid) {
  const key = `chathook-device-${uid}`;
  const kept = sessionStorage.getItem(key) ?? `try-it-${crypto.randomUUID()}`;
  sessionStorage.setItem(key, kept);
  return kept;
}

class Pane {
  #appId; #user; #peer; #token; #socket; #cursor; #root; #find;
  #views = [];
  #marks = {};
  #isLeaving = false;
  #isTyping = false;
  #typingTimer; #typingShownTimer; #readTimer;

  constructor(appId, user, peer) {
    this.#appId = appId;
    this.#user = user;
    this.#peer = peer;
    this.#token = user.authToken;
    this.#root = byId("pane-template").content.cloneNode(true).firstElementChild;
    this.#find = (selector) => this.#root.querySelector(selector);
    this.#root.dataset.testid = `pane-${user.uid}`;
    this.#root.setAttribute("aria-label", `${user.name}, chatting with ${peer.name}`);
    this.#find(".avatar").textContent = user.name.slice(0, 1).toUpperCase();
    this.#find(".pane-name").textContent = user.name;
    this.#find(".messages").setAttribute("aria-label", `Messages as ${user.name} sees them`);
    this.#find(".composer").setAttribute("aria-label", `Message to ${peer.name}`);
    this.#listen();
    this.#showConnected(false);
    byId("panes").append(this.#root);
  }

  #listen() {
    const composer = this.#find(".composer");
    this.#find(".login").addEventListener("click", () => this.#login());
    this.#find(".logout").addEventListener("click", () => this.#logout());
    this.#find(".cut").addEventListener("click", () => this.#socket?.close());
    this.#find(".composer-row").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#compose();
    });
    composer.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#compose();
    });
    composer.addEventListener("input", () => this.#tellTyping(composer.value !== ""));
    this.#find(".reading input").addEventListener("change", () => this.#readSoon());
  }

  #showConnected(connected) {
    for (const name of [".logout", ".cut"]) this.#find(name).hidden = !connected;
    this.#find(".login").hidden = connected;
    this.#find(".login").disabled = false;
    for (const name of [".composer", ".send"]) this.#find(name).disabled = !connected;
    this.#find(".composer").placeholder = connected ? `Message ${this.#peer.name}` : "Logged out";
    this.#find(".empty").textContent = connected
      ? `Say something to ${this.#peer.name}.`
      : `Log in to chat as ${this.#user.name}.`;
    this.#root.dataset.connected = connected;
    if (!connected) this.#showPeer(undefined);
  }

  #showPeer(status) {
    const online = status === "online" || status === "available";
    const word = status === undefined ? "" : online ? "online" : "offline";
    const dot = this.#find(".dot");
    dot.dataset.online = online;
    dot.setAttribute("aria-label", `${this.#peer.name} is ${word || "out of sight"}`);
    this.#find(".peer").textContent = word ? `with ${this.#peer.name}, ${word}` : `with ${this.#peer.name}`;
  }

  #notice(text) {
    this.#find(".notice").textContent = text ?? "";
    this.#find(".notice").hidden = !text;
  }

  async #login() {
    this.#find(".login").disabled = true;
    this.#isLeaving = false;
    this.#notice();
    try {
      this.#token ??= await this.#freshToken();
      const session = await this.#open().catch(async (error) => {
        // The token of the configuration ends with its first log-out; ask for another, once.
        if (!(error instanceof CallRefused) || !error.code.includes("AUTH")) throw error;
        this.#token = await this.#freshToken();
        return this.#open();
      });
      await this.#begin(session);
      this.#find(".composer").focus();
    } catch (error) {
      this.#notice(error.message);
      this.#find(".login").disabled = false;
    }
  }

  async #freshToken() {
    return (await call("/dev/login", withJson("POST", { uid: this.#user.uid }))).authToken;
  }

  async #open() {
    const socket = new Socket(
      (method, params) => this.#notified(method, params),
      (closed, event) => this.#closed(closed, event),
    );
    await socket.opened;
    try {
      const params = { appId: this.#appId, authToken: this.#token, deviceId: deviceIdOf(this.#user.uid), platform: "web" };
      if (this.#cursor) params.after = this.#cursor;
      const session = await socket.call("login", params);
      this.#socket = socket;
      return session;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  async #begin(session) {
    const socket = this.#socket;
    const isReturn = this.#cursor !== undefined && !session.truncated;
    this.#cursor = session.cursor ?? this.#cursor;
    this.#showConnected(true);
    const peer = this.#peer.uid;
    const states = await socket.call("subscribePresence", { uids: [peer] });
    const users = states.users ?? states;
    const state = Array.isArray(users) ? users.find((one) => one.uid === peer) : users[peer];
    this.#showPeer(state?.status ?? state ?? "offline");
    if (!isReturn) {
      const page = await socket.call("fetchMessages", { receiver: peer, receiverType: "user", limit: 50 });
      for (const message of Array.isArray(page) ? page : page.messages) this.#take(message);
    }
    this.#acknowledge();
  }

  async #logout() {
    const socket = this.#socket;
    this.#isLeaving = true;
    try {
      await socket.call("logout", {});
    } catch (error) {
      // The server may close the socket before its answer is read; either way the token has ended.
      if (!(error instanceof ConnectionLost)) {
        this.#isLeaving = false;
        return this.#notice(error.message);
      }
    }
    this.#token = undefined;
    return socket.close();
  }

  #closed(socket, event) {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    clearTimeout(this.#readTimer);
    this.#showTyping(false);
    this.#showConnected(false);
    this.#isTyping = false;
    if (event.code >= 4000 && !this.#isLeaving) this.#notice(`The server closed the socket: ${event.reason || event.code}.`);
  }

  #notified(method, params) {
    if (params.cursor) this.#cursor = params.cursor;
    if (method === "message") this.#arrived(params);
    if (method === "receipt") this.#mark(params);
    if (method === "presence" && params.uid === this.#peer.uid) this.#showPeer(params.status);
    if (method === "typing" && params.sender === this.#peer.uid) this.#showTyping(params.active);
    if (method === "messageEdited" || method === "messageDeleted") {
      const changed = params.data?.entities?.on?.entity;
      if (changed) this.#take(changed);
    }
  }

  // Messages

  #arrived(message) {
    this.#take(message);
    if (message.sender === this.#peer.uid) {
      this.#showTyping(false);
      this.#acknowledge();
    }
  }

  /** Draws a message of this conversation, new or changed. */
  #take(message) {
    const { uid } = this.#user;
    const isOurs = message.receiverType === "user" && message.category !== "action" &&
      [message.sender, message.receiver].every((one) => one === uid || one === this.#peer.uid);
    if (!isOurs) return undefined;
    const mine = message.sender === uid;
    const known = this.#views.find((view) => view.message.id === message.id) ??
      this.#views.find((view) => mine && !view.message.id && view.message.muid === message.muid);
    if (known) return known.update(message);
    return this.#place(new MessageView(message, mine));
  }

  /** In order of id; what is still being sent stands last. */
  #place(view) {
    const thread = this.#find(".thread");
    const next = this.#views.findIndex(({ message }) =>
      view.message.id && message.id && BigInt(message.id) > BigInt(view.message.id));
    const at = next < 0 ? this.#views.length : next;
    thread.insertBefore(view.root, thread.children[at] ?? null);
    this.#views.splice(at, 0, view);
    this.#find(".messages").scrollTop = this.#find(".messages").scrollHeight;
    return view;
  }

  #compose() {
    const composer = this.#find(".composer");
    const text = composer.value;
    if (!this.#socket || !text.trim()) return;
    composer.value = "";
    this.#tellTyping(false);
    const draft = {
      receiver: this.#peer.uid, receiverType: "user", category: "message", type: "text",
      data: { text }, muid: crypto.randomUUID(),
    };
    this.#send(this.#place(new MessageView({ ...draft, sender: this.#user.uid }, true)), draft);
  }

  async #send(view, draft) {
    view.draw("sending");
    try {
      if (!this.#socket) throw new ConnectionLost("Log in to send it.");
      view.update(await this.#socket.call("sendMessage", draft));
      this.#applyMarks(view);
    } catch (error) {
      if (view.message.id) return;
      const why = error.reason && !error.message.includes(error.reason) ? `${error.message} ${error.reason}` : error.message;
      const isDropped = error.code === "ERR_BLOCKED_BY_WEBHOOK";
      // The same muid again cannot become a second message.
      const retry = error instanceof ConnectionLost ? () => this.#send(view, draft) : undefined;
      view.draw(isDropped ? "dropped" : "failed", isDropped ? `Not sent: ${why}` : why, retry);
    }
    this.#find(".messages").scrollTop = this.#find(".messages").scrollHeight;
  }

  // Receipts: each stands for its message and all before it

  #mark({ messageId, receiptType, receiptSender, receiverType, deliveredAt, readAt }) {
    if (receiverType !== "user" || receiptSender !== this.#peer.uid) return;
    const upTo = BigInt(messageId);
    if (upTo < (this.#marks[receiptType]?.upTo ?? 0n)) return;
    this.#marks[receiptType] = { upTo, deliveredAt: deliveredAt ?? readAt, readAt };
    for (const view of this.#views) this.#applyMarks(view);
  }

  /** Marks are kept because a receipt may come before the answer that gives its message an id. */
  #applyMarks(view) {
    const { id, sender } = view.message;
    if (!id || sender !== this.#user.uid) return;
    for (const { upTo, ...mark } of Object.values(this.#marks)) {
      const isNews = Object.keys(mark).some((key) => mark[key] && !view.message[key]);
      if (isNews && BigInt(id) <= upTo) view.update({ ...mark, ...defined(view.message) });
    }
  }

  #newestFromPeer() {
    return this.#views.findLast(({ message }) => message.id && message.sender === this.#peer.uid);
  }

  #acknowledge() {
    const newest = this.#newestFromPeer();
    if (!newest || !this.#socket) return;
    if (!newest.message.deliveredAt) {
      newest.message.deliveredAt = Date.now() / 1000;
      this.#attempt("markDelivered", { messageId: newest.message.id });
    }
    this.#readSoon();
  }

  #readSoon() {
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      const newest = this.#newestFromPeer();
      const isReading = this.#find(".reading input").checked;
      if (!newest || !this.#socket || !isReading || newest.message.readAt) return;
      newest.message.readAt = Date.now() / 1000;
      this.#attempt("markRead", { messageId: newest.message.id });
    }, READ_AFTER_MS);
  }

  #attempt(method, params) {
    this.#socket?.call(method, params).catch((error) => {
      if (!(error instanceof ConnectionLost)) this.#notice(error.message);
    });
  }

  // Typing

  #tellTyping(active) {
    clearTimeout(this.#typingTimer);
    if (active) this.#typingTimer = setTimeout(() => this.#tellTyping(false), TYPING_IDLE_MS);
    if (active === this.#isTyping) return;
    this.#isTyping = active;
    this.#attempt("typing", { receiver: this.#peer.uid, receiverType: "user", active });
  }

  #showTyping(active) {
    clearTimeout(this.#typingShownTimer);
    this.#find(".typing").textContent = active ? `${this.#peer.name} is typing…` : "";
    // Who is cut off while typing cannot take it back.
    if (active) this.#typingShownTimer = setTimeout(() => this.#showTyping(false), TYPING_SHOWN_MS);
  }
}

const defined = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

async function start() {
  const { appId, inbox, users: [first, second] } = await call("/dev/config");
  byId("app-id").textContent = appId;
  byId("inbox-url").textContent = inbox.url;
  new Pane(appId, first, second);
  new Pane(appId, second, first);
  watchWebhooks();
  await offerModes();
}

start().catch(report);
