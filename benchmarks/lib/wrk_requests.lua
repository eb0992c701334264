-- The requests of one workload, and one line of JSON with the exact totals, which wrk's own report rounds.
-- wrk ... URL -- METHOD BODY_BYTES VARYING CLOSES [NAME VALUE]...
local varying = 'nothing'
local count = 0

function init(arguments)
  wrk.method = arguments[1]
  local size = tonumber(arguments[2])
  if size > 0 then wrk.body = '{"text":"' .. string.rep('x', size - 11) .. '"}' end
  varying = arguments[3]
  if arguments[4] == 'closes' then wrk.headers['Connection'] = 'close' end
  for place = 5, #arguments, 2 do wrk.headers[arguments[place]] = arguments[place + 1] end
  if varying == 'nothing' then
    local whole = wrk.format()
    request = function() return whole end
  end
end

function request()
  count = count + 1
  if varying == 'path-and-fields' then
    wrk.headers['X-Trace-Id'] = string.format('%032x', count * 2654435761)
    wrk.headers['Cookie'] = string.format('session=%016x', count * 40503)
  end
  return wrk.format(nil, string.format('/items/%d?page=%d', count, count % 100))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'summary {"requests":%d,"duration_us":%d,"p99_us":%d,"socket_errors":%d,"error_statuses":%d}\n',
    summary.requests,
    summary.duration,
    latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout,
    errors.status
  ))
end
