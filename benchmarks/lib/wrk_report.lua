-- One line of JSON with the exact totals, which wrk's own report rounds.
done = function(summary, latency)
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
