-- What bench/run reads of wrk: requests a second, the 99th percentile in ms, and answers that were not good ones.
done = function(summary, latency)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("FIGURES %.0f %.2f %d", summary.requests / (summary.duration / 1e6), latency:percentile(99) / 1000, bad))
end
