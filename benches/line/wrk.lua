-- POST=<bytes> sends a body of that size; the result is one line of JSON.
local size = tonumber(os.getenv("POST") or "")
if size then
  wrk.method = "POST"
  wrk.body = string.rep("x", size)
end
function done(all)
  local e = all.errors
  io.write(string.format('{"requests":%d,"errors":%d}\n', all.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
