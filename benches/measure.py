#!/usr/bin/env python3
"""Runs the measurements and writes the report. Started by `run`, which builds everything first.

Use: measure.py quick|full REPORT_FOLDER DATE
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

import plot
from producers import CLIENTS, OUT, ROOT, column, end_to_end_table, make_lines, measure_codec
from ratios import against, say, spread


FORMS = {
    # Rounds of the submit bench; lines and runs of each producer end to end, and with which codecs.
    "quick": {"rounds": 11, "lines": 300_000, "runs": 3, "codecs": ["gzip"]},
    "full": {"rounds": 41, "lines": 1_000_000, "runs": 3, "codecs": ["gzip", "zstd", "lz4", "none"]},
}


# --- submit ---------------------------------------------------------------------------------------------------------


def measure_submit(rounds):
    say(f"submit: {rounds} rounds of each peer in turn")
    done = subprocess.run([OUT / "release" / "submit-bench", str(rounds)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def submit_rows(results):
    base = {(r["threads"], r["bytes"]): r for r in results if r["peer"] == "memcpy"}
    for result in results:
        floor = base[result["threads"], result["bytes"]]
        yield result, against(result["cpu_ns"], floor["cpu_ns"])


def submit_table(results):
    lines = [
        "| threads | bytes | peer | CPU ns/line | wall ns/line | CPU against memcpy: min / median / max |",
        "|--:|--:|---|--:|--:|--:|",
    ]
    for r, ratios in submit_rows(results):
        cpu, wall = median(r["cpu_ns"]), median(r["wall_ns"])
        lines.append(
            f"| {r['threads']} | {r['bytes']:,} | {r['peer']} | {cpu:.1f} | {wall:.1f} | {spread(ratios)} |"
        )
    return lines


def latency_table(results):
    lines = [
        "| bytes | peer | median ns | p99.9 ns | p99.9 against its own median: min / median / max |",
        "|--:|---|--:|--:|--:|",
    ]
    for r in results:
        if "call_median_ns" in r:
            mid, high = median(r["call_median_ns"]), median(r["call_p999_ns"])
            ratios = [p999 / max(middle, 0.1) for p999, middle in zip(r["call_p999_ns"], r["call_median_ns"])]
            lines.append(f"| {r['bytes']:,} | {r['peer']} | {mid:.1f} | {high:.1f} | {spread(ratios)} |")
    return lines


# --- many clients ---------------------------------------------------------------------------------------------------


def measure_many_clients():
    """Its own tables, as text: `benches/many_clients/run --help` says what each part is."""
    command = [ROOT / "benches/many_clients/run", "burst", "start", "idle", "flow", "outage"]
    command += ["--clients", "100,1000,10000", "--quiet", "35", "--outage-clients", "100"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip().splitlines()


# --- report ---------------------------------------------------------------------------------------------------------


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.splitlines()[0] if done.stdout else ""
    except OSError:
        return ""


def machine(end_to_end):
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    versions = [first_line(["rustc", "--version"]), first_line(["cc", "--version"]), f"Python {platform.python_version()}"]
    versions += {run["version"] for series in end_to_end.values() for run in series["original"]}
    tel = first_line(["pkg-config", "--modversion", "tel"])
    commit = first_line(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=9"])
    if os.environ.get("TEL_BENCH_STAGE"):
        commit = "not of this tree"
    return [
        f"- Machine: {len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GB, {release}, Linux {platform.release()}.",
        f"- Versions: tel {tel} ({commit}), Apache Kafka 4.1.0, {', '.join(filter(None, versions))}.",
    ]


def report(form, folder, date, submit, end_to_end, many_clients):
    how = FORMS[form]
    text = [
        "# Performance",
        "",
        "Ratios taken in one run, everything in turn (A B C A B C …), each divided by its neighbour of the same round. Absolute",
        "figures are this machine's of that day; the ratios are what to compare.",
        "",
        f"- Made by `benches/run {form}` ({'`make bench`' if form == 'quick' else '`make bench BENCH=full`'}), {date}; "
        "this file and its plots are its output.",
        *machine(end_to_end),
        "",
        "## Submitting a line",
        "",
        f"{how['rounds']} rounds. CPU is the submitting threads' own; wall includes waiting for a core where there are more threads than cores.",
        "The lines come from the cache, as those that a host has just written. `tel_submit` is called from C through the shared",
        "library, with a queue of 32 MiB, in bursts of less than half of it, and its worker draining; it is checked that no line",
        "found the queue full. Its peers: the copy alone, into as much memory; crossbeam's bounded queue of boxed lines, with a consumer that frees;",
        "`rd_kafka_produce` with a copy, only as far as librdkafka's own queue; one `write` into a pipe of 64 KiB that a thread reads.",
        "",
        "![submit](submit.svg)",
        "",
        *submit_table(submit),
        "",
        "Single calls of one thread, each timed by the processor's time stamp counter between fences, less what an empty timing",
        "takes (the fences keep a call from overlapping its neighbours, so these are more than a burst's share). Median and p99.9",
        "of each round's calls, and of the rounds the middle:",
        "",
        *latency_table(submit),
        "",
        "## End to end",
        "",
        f"{how['lines']:,} lines of 251 bytes on average, {CLIENTS} clients (Zipf), one thread, into a real Kafka over plaintext; {how['runs']} runs of each",
        "after one to warm up; every run's lines are counted in Kafka. CPU is user and system time of the producer's whole process",
        "by getrusage; of the original (`benches/peers/original_producer.py`, a re-creation) without what starting Python costs and",
        "without its logger's process. Compression: bytes of the values over bytes in Kafka's logs, the batches' frames included.",
        "",
        "![end to end](end_to_end.svg)",
        "",
        *end_to_end_table(end_to_end),
        "",
    ]
    if many_clients:
        text += ["## Many clients", "", *many_clients, ""]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join(text))
    (folder / "results.json").write_text(
        json.dumps({"form": form, "date": date, "submit": submit, "end_to_end": end_to_end}, indent=1) + "\n"
    )
    rows = [
        (f"{r['threads']} thread{'s' if r['threads'] > 1 else ''}, {r['bytes']:,} bytes", r["peer"], ratios)
        for r, ratios in submit_rows(submit)
    ]
    (folder / "submit.svg").write_text(plot.bars("CPU per line against a bare memcpy (log scale)", rows, log=True, unit="x"))
    rows = [
        (codec, name, column(runs, "cpu_us_per_line")) for codec, series in end_to_end.items() for name, runs in series.items()
    ]
    (folder / "end_to_end.svg").write_text(plot.bars("CPU per line, end to end, microseconds", rows, unit=" us"))
    return text


def main():
    form, folder, date = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    how = FORMS[form]
    submit = measure_submit(how["rounds"])
    print("\n".join([*submit_table(submit), "", *latency_table(submit)]), flush=True)
    lines_file, value_bytes = make_lines(how["lines"])
    end_to_end = {
        codec: measure_codec(form, codec, lines_file, value_bytes, how["lines"], how["runs"]) for codec in how["codecs"]
    }
    print("\n".join(["", *end_to_end_table(end_to_end), ""]))
    many_clients = measure_many_clients() if form == "full" else []
    print("\n".join(many_clients), flush=True)
    report(form, ROOT / folder, date, submit, end_to_end, many_clients)
    print(f"bench: the report is in {folder}")


if __name__ == "__main__":
    main()
