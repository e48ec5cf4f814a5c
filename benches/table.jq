# Turns the lines of JSON that benches/run gathers (slurped) into one Markdown table of medians.

def median: sort | if length == 0 then null
    elif length % 2 == 1 then .[(length - 1) / 2]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def shown: if . == null then ""
    elif . == (. | floor) then tostring
    elif . >= 100 then (. | round | tostring)
    elif . >= 10 then (. * 10 | round / 10 | tostring)
    else (. * 1000 | round / 1000 | tostring) end;

def fanout: [
    ["server_cpu_us", "server CPU per delivery, µs", "≤ 1.5 × floor"],
    ["writes_per_delivery", "socket writes per delivery", ""],
    ["p50_ms", "latency p50, ms", ""],
    ["p99_ms", "latency p99, ms", ""],
    ["deliveries_per_s", "deliveries/s", ""],
    ["lost", "lost", "0"],
    ["duplicates", "duplicates", "0"],
    ["errors", "error frames", "0"],
    ["closed", "connections closed", "0"]];

def ramp: [
    ["deliveries_per_s", "most deliveries/s with p99 ≤ 100 ms", "≥ 500,000"],
    ["p99_ms", "latency p99 there, ms", ""],
    ["server_cpu_us", "server CPU per delivery there, µs", ""],
    ["server_rss_mib", "RSS after it, MiB", ""]];

def cursors: [
    ["server_cores", "server CPU, cores", "< 0.15"],
    ["staleness_p50_ms", "staleness p50, ms", ""],
    ["staleness_p99_ms", "staleness p99, ms", "< 100"],
    ["age_p99_ms", "age of a picture when replaced, p99, ms", ""],
    ["updates_per_client_s", "positions received per client and s", ""],
    ["updates_share", "share of the positions sent", ""],
    ["bytes_per_client_s", "bytes/s per client", ""],
    ["writes_per_delivery", "socket writes per position", ""],
    ["closed", "connections closed", "0"]];

def idle: [
    ["rss_kib_per_conn", "RSS per connection after the hold, KiB", "≤ 16"],
    ["rss_joined_kib_per_conn", "RSS per connection when joined, KiB", ""],
    ["redis_commands_per_s", "Redis commands/s", "< 100"],
    ["server_cores", "server CPU, cores", ""],
    ["connect_seconds", "all joined and settled after, s", ""],
    ["connect_cpu_us", "server CPU per join, µs", ""],
    ["still_joined", "still joined after the hold", "all"]];

def crowd: [
    ["complete", "clients that know of all", "all"],
    ["joined_seconds", "the last had joined after, s", "10"],
    ["complete_after_ms", "all know of all after that, ms", "< 5,000"],
    ["kib_per_client", "KiB received per client", "≤ 0.3 × people"],
    ["frames_per_client", "frames per client", ""],
    ["join_cpu_us", "server CPU per join, µs", ""],
    ["rss_kib_per_conn", "RSS per connection, KiB", ""],
    ["rss_peak_mib", "RSS grown at most, MiB", ""],
    ["server_cores", "server CPU, cores", ""],
    ["closed", "connections closed", "0"]];

# How far the figures can be trusted, at the end of every scenario.
def trust: [
    ["generator_cores", "generator CPU, cores", "< 0.9"],
    ["others_cores", "everything else on the machine, cores", "< 0.1"]];

def figures($run): (if $run == "idle" then idle
    elif $run == "crowd" then crowd
    elif ($run | startswith("cursors")) then cursors
    elif ($run | startswith("ramp")) then ramp
    else fanout end) + trust;

def title: {
    "fanout-room": "500 in one room, 50 msg/s",
    "fanout-rooms": "1,000 in 50 rooms, 500 msg/s",
    "fanout-synced": "the same, floor that syncs to disk every 8 ms",
    "fanout-ephemeral": "1,000 in 50 rooms, broadcasts, nothing stored",
    "ramp": "500 in one room, rising",
    "ramp-tick": "the same, floor with a 5 ms tick",
    "cursors": "cursors, 100 people at 30 Hz (floor: 33 ms tick)",
    "cursors-raw": "the same, floor without coalescing",
    "idle": "idle"}[.] // .;

. as $lines
| ($lines | reduce .[].run as $run ([]; if index($run) then . else . + [$run] end)) as $runs
| "| scenario | figure | floor | hub | hub / floor | target |",
  "| --- | --- | ---: | ---: | ---: | --- |",
  ($runs[] as $run
   | [$lines[] | select(.run == $run)] as $mine
   | ($mine | map(.conns // .people // empty) | first) as $conns
   | figures($run) | to_entries[] | .key as $n | .value as [$key, $figure, $target]
   | ([$mine[] | select(.server == "floor") | .[$key] // empty] | median) as $floor
   | ([$mine[] | select(.server == "hub") | .[$key] // empty] | median) as $hub
   | select($floor != null or $hub != null)
   | (if $floor != null and $hub != null and $floor > 0 then $hub / $floor else null end) as $ratio
   # A scenario that is there for the floor's sake has no target.
   | (if $run | IN("ramp-tick", "cursors-raw", "fanout-synced") then "" else $target end) as $target
   | (if $n > 0 then "" elif $run == "idle" then "idle, \($conns) connections"
      elif $run == "crowd" then "\($conns) join one room, 500/s" else ($run | title) end) as $name
   | "| \($name) | \($figure) | \($floor | shown) | \($hub | shown) | \($ratio | shown) | \($target) |")
