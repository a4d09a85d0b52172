-- POST=<bytes> sends a body of that size; the result is one line of JSON.
local size = tonumber(os.getenv("POST") or "")
if size then
  wrk.method = "POST"
  wrk.body = string.rep("x", size)
end
function done(all, latency)
  local e = all.errors
  io.write(string.format('JSON {"requests":%d,"errors":%d,"p50":%d,"p99":%d}\n', all.requests,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
