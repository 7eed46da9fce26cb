-- Asks authsvc about a request: `http-request lua.authsvc http://127.0.0.1:8001/forward-auth`.
-- Only where this has set txn.authsvc to `ok` may the request go on: an error in here must not open the door.

local TIMEOUT = 5000 -- milliseconds
local IDENTITY = { "x-auth-user", "x-auth-email", "x-auth-name", "x-auth-roles", "x-auth-session", "x-auth-amr" }
local HANDED_ON = { "location", "www-authenticate", "content-type", "cache-control", "retry-after" }
local REFUSALS = { [302] = true, [401] = true, [403] = true }

local function values(of)
  local list = {}
  for at = 0, of and #of or -1 do
    list[#list + 1] = of[at]
  end
  return list
end

local function ask(txn, url)
  local sent = txn.http:req_get_headers()
  local asked = {
    ["host"] = values(sent["host"]),
    ["cookie"] = values(sent["cookie"]),
    ["authorization"] = values(sent["authorization"]),
    ["accept"] = values(sent["accept"]),
    ["x-forwarded-for"] = { txn.sf:src() },
    ["x-forwarded-method"] = { txn.sf:method() },
    ["x-forwarded-uri"] = { txn.sf:pathq() },
  }
  for name, list in pairs(asked) do
    if #list == 0 then asked[name] = nil end
  end
  return core.httpclient():get({ url = url, headers = asked, timeout = TIMEOUT })
end

local function refuse(txn, answer)
  local reply = txn:reply()
  reply:set_status(REFUSALS[answer.status] and answer.status or 503)
  if REFUSALS[answer.status] then
    for _, name in ipairs(HANDED_ON) do
      for _, value in ipairs(values((answer.headers or {})[name])) do
        reply:add_header(name, value)
      end
    end
    reply:set_body(answer.body or "")
  end
  txn:done(reply)
end

core.register_action("authsvc", { "http-req" }, function(txn, url)
  local answer = ask(txn, url)
  if answer.status ~= 200 then
    refuse(txn, answer)
    return
  end
  for _, name in ipairs(IDENTITY) do
    local list = values(answer.headers[name])
    if #list ~= 1 then
      refuse(txn, { status = 503 })
      return
    end
    txn.http:req_set_header(name, list[1])
  end
  txn:set_var("txn.authsvc", "ok")
end, 1)
