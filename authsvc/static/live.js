// What forms cannot do by themselves: lists that follow what happens elsewhere, a progress bar, a word on a password.
// Every page works without this file.

const FACTS = ["session.started", "session.ended", "session.expiring", "account.changed", "roles.changed", "task.changed"];
const AGAIN = 5000; // milliseconds until a stream that was refused is tried again

// -- live pages -----------------------------------------------------------------------------------------------------

const tabs = new BroadcastChannel("authsvc"); // one tab listens for all: a browser has few connections to a server
let going = false; // this tab is on its way to another page by itself
let timer = 0;

function tell(name, data) {
  tabs.postMessage([name, data]);
  hear(name, data);
}

function hear(name, data) {
  if (name === "gone") leave();
  else if (name === "session.expiring") expiring(data.reason);
  else if (name === "task.changed" && data.state === "running") progress(data);
  else refresh();
}

function listen() {
  const stream = new EventSource("/events");
  for (const name of FACTS) stream.addEventListener(name, (event) => tell(name, JSON.parse(event.data)));
  stream.addEventListener("session", loggedOut);
  stream.onopen = () => tell("open"); // whatever happened before that is read now
  stream.onerror = async () => {
    if (stream.readyState === EventSource.CLOSED && !(await loggedOut())) setTimeout(listen, AGAIN);
  };
}

// A stream also ends where the session goes on: under a new cookie, or while the service restarts.
async function loggedOut() {
  const answer = await fetch("/api/session").catch(() => null);
  const gone = answer?.status === 401;
  if (gone) tell("gone");
  return gone;
}

function leave() {
  if (!going) location.replace(`/login?notice=ended&next=${encodeURIComponent(location.pathname)}`);
}

// The server writes the page once more, and what is new of it is put in the old one's place.
function refresh() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const request = new XMLHttpRequest();
    request.open("GET", location.pathname);
    request.responseType = "document";
    request.onload = () => {
      const { pathname } = new URL(request.responseURL);
      if (pathname === "/login") leave();
      else if (pathname === location.pathname && request.status === 200) renew(request.response);
    };
    request.send();
  }, 30);
}

// A refresh would be use, and an idle session would never end: it is for the person to stay.
function expiring(reason) {
  const notice = document.getElementById("expiring");
  for (const words of notice.children) words.hidden = words.dataset.reason !== reason;
  notice.hidden = false;
}

function renew(fresh) {
  document.getElementById("expiring").hidden = true;
  let changed = false;
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.isEqualNode(part)) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.id : null;
    changed ||= part.textContent !== other.textContent;
    part.replaceChildren(...other.childNodes);
    if (focused !== null) (document.getElementById(focused) ?? document.getElementById("main")).focus();
  }
  const said = document.getElementById("said");
  if (changed && said) said.textContent = said.dataset.changed;
}

function progress({ task, progress: percent }) {
  const bar = document.getElementById(`task-${task}`);
  if (bar) bar.value = percent;
  else refresh();
}

if (document.querySelector("[data-live]")) {
  tabs.onmessage = (message) => hear(...message.data);
  addEventListener("submit", () => { going = true; });
  addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  if (navigator.locks) navigator.locks.request("authsvc.events", () => new Promise(listen));
  else listen();
}

// -- times ----------------------------------------------------------------------------------------------------------

addEventListener("pointerover", ({ target }) => {
  if (target instanceof HTMLTimeElement) target.title = new Date(target.dateTime).toLocaleString(document.documentElement.lang);
});

// -- passwords ------------------------------------------------------------------------------------------------------

for (const input of document.querySelectorAll("input[data-show]")) addToggle(input);
for (const input of document.querySelectorAll("input[data-strength]")) addMeter(input);

function addToggle(input) {
  const around = document.createElement("div");
  around.className = "secret";
  const button = document.createElement("button");
  const word = document.createTextNode(input.dataset.show);
  const what = document.createElement("span");
  what.className = "away";
  what.textContent = ` ${input.dataset.what}`;
  button.type = "button";
  button.className = "link";
  button.append(word, what);
  button.addEventListener("click", () => {
    const hidden = input.type === "text";
    input.type = hidden ? "password" : "text";
    word.data = hidden ? input.dataset.show : input.dataset.hide;
  });
  input.form.addEventListener("submit", () => { input.type = "password"; }); // browsers keep what text fields held
  input.before(around);
  around.append(input, button);
}

function addMeter(input) {
  const meter = document.getElementById(input.dataset.strength);
  const words = meter.dataset.words.split("|");
  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const { score, problems } = (await strength(input)) ?? {};
      meter.hidden = score === undefined;
      if (meter.hidden) return;
      meter.dataset.score = score;
      meter.querySelector("p").textContent = problems.map((problem) => problem.sentence)[0] ?? words[score];
    }, 250);
  });
}

// What the service thinks of a password; nothing if it is too busy to say.
async function strength(input) {
  if (!input.value) return null;
  const email = input.form.querySelector("[autocomplete=username]")?.value ?? "";
  const name = input.form.elements.name?.value ?? "";
  const body = JSON.stringify({ password: input.value, email, name });
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/password/strength", { method: "POST", headers, body }).catch(() => null);
  return answer?.ok ? answer.json() : null;
}
