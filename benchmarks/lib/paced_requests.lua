-- wrk: each connection waits about 10 ms between an answer and its next request. Prints how many requests were answered
-- and what they took (p50, p99), in microseconds.
function delay()
   return math.random(5, 15)
end

function done(summary, latency, requests)
   io.write(string.format("paced %d %d %d\n", summary.requests, latency:percentile(50), latency:percentile(99)))
end
