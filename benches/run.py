"""The whole comparison of docs/performance.md, on this machine: the peers, growth, history, memory limits, HTTP, start-up.

    python3 -m venv VENV && VENV/bin/pip install -r benches/compare/requirements.txt
    VENV/bin/python benches/run.py --etl target/release/etl [--part full,growth,history,memory,http,startup] [--work DIR]
    VENV/bin/python benches/run.py --etl target/release/etl --part goals [--quick]

Prints Markdown tables. `goals` measures what the goals need in one session, and prints all against them; with --quick over 300,000 orders,
three times, without HTTP: for a look, not for the page. `full` runs the peers beside etl over the same data, in turn, and ends with 1
where their layers differ by a digit. The others run etl alone. Figures are medians of --runs; the largest sizes run once. Nothing else should work on the machine.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
DAYS = 90


def generated(work, orders, days=DAYS, users=None, increment=0):
    """A folder of generated data; made once."""
    folder = work / f"data-{orders}-{days}-{users or 'tenth'}-{increment}"
    if not (folder / "done").exists():
        argv = [sys.executable, str(HERE / "compare" / "gen.py"), "--orders", str(orders), "--days", str(days), "--out", str(folder)]
        argv += ["--users", str(users)] if users else []
        argv += ["--since-increment", str(increment)] if increment else []
        subprocess.run(argv, check=True)
        (folder / "done").touch()
    return folder


def run(etl, output, *more):
    """One run: wall and CPU seconds, peak MiB, and the summary."""
    argv = [etl, "run", "--output", str(output), "--format", "json", "--no-progress", "-q", *map(str, more)]
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit {process.returncode}: {' '.join(argv)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, json.loads(out.splitlines()[-1])


def files(data, orders="orders.ndjson"):
    return ["--orders", data / orders, "--users", data / "users.csv", "--products", data / "products.csv"]


def median(figures):
    return [statistics.median(column) for column in zip(*(figure[:3] for figure in figures))]


def table(*head):
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)


def row(*cells):
    print("| " + " | ".join(f"{c:,.2f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def fresh(work, name="output"):
    output = work / name
    shutil.rmtree(output, ignore_errors=True)
    return output


def side_by_side(args, names, runs):
    """etl and its peers over the same data, in turn: {mode: {name: [wall s, CPU s, peak MiB]}}."""
    figures = args.work / "figures.json"
    argv = [sys.executable, str(HERE / "compare" / "compare.py"), "--orders", str(args.orders), "--runs", str(runs)]
    argv += ["--only", names, "--work", str(args.work / "compare"), "--etl", args.etl, "--json", str(figures)]
    subprocess.run(argv, check=True)
    return json.loads(figures.read_text())


def full(args):
    side_by_side(args, args.peers, args.runs)


def growth(args):
    table("orders", "wall s", "CPU s", "peak MiB", "orders a second")
    for orders in (10_000, 100_000, 1_000_000, args.most):
        data = generated(args.work, orders)
        runs = 1 if orders > 1_000_000 else args.runs
        wall, cpu, peak = median([run(args.etl, fresh(args.work), *files(data)) for _ in range(runs)])
        row(f"{orders:,}", wall, cpu, f"{peak:.0f}", f"{orders / wall:,.0f}")


def history(args):
    """An increment into the last day: more days behind it must cost nothing. Wall seconds and peak MiB by days."""
    table("days of history", "wall s", "peak MiB")
    by_days = {}
    for days in args.days:
        data = generated(args.work, 1100 * days, days, 100_000, 1000)
        before = fresh(args.work, "before")
        run(args.etl, before, *files(data))
        figures = []
        for _ in range(args.runs):
            output = fresh(args.work)
            shutil.copytree(before, output, copy_function=shutil.copy2)
            os.sync()  # or the run's own fsync waits for the copy
            run(args.etl, output, *files(data, "increment.ndjson"), "--dry-run")  # a layer that was just copied is in no cache
            figures.append(run(args.etl, output, *files(data, "increment.ndjson")))
        wall, _, peak = median(figures)
        row(f"{days:,}", wall, f"{peak:.0f}")
        by_days[days] = (wall, peak)
    return by_days


def memory(args):
    """Peak MiB by limit."""
    data = generated(args.work, args.orders)
    table("--memory-limit", "wall s", "peak MiB")
    peaks = {}
    for limit in ("256MiB", "384MiB", "512MiB", None):
        more = ["--memory-limit", limit] if limit else []
        wall, _, peak = median([run(args.etl, fresh(args.work), *files(data), *more) for _ in range(args.runs)])
        row(limit or "none", wall, f"{peak:.0f}")
        peaks[limit] = peak
    return peaks


def pages(path, size=500):
    """Bodies of records, and one without."""
    bodies, batch = [], []
    with open(path, "rb") as lines:
        for line in lines:
            batch.append(line.rstrip())
            if len(batch) == size:
                bodies.append(b"[" + b",".join(batch) + b"]")
                batch = []
    return bodies + ([b"[" + b",".join(batch) + b"]"] if batch else [])


def serve(bodies, latency):
    """Pages on the loopback, each `latency` seconds after it was asked for. In a process of its own; tells its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    heads = [f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-total-pages: {len(bodies)}\r\ncontent-length: {len(b)}\r\n\r\n".encode() for b in bodies]

    def connection(client):
        asked = b""
        with client:
            while True:
                while b"\r\n\r\n" not in asked:
                    chunk = client.recv(65536)
                    if not chunk:
                        return
                    asked += chunk
                request, _, asked = asked.partition(b"\r\n\r\n")
                query = request.split(b" ", 2)[1].partition(b"?")[2]
                page = next((int(p[5:]) for p in query.split(b"&") if p.startswith(b"page=")), 1)
                time.sleep(latency)
                if page <= len(bodies):
                    client.sendall(heads[page - 1])
                    client.sendall(bodies[page - 1])
                else:
                    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    child = os.fork()
    if child:
        port = listener.getsockname()[1]
        listener.close()
        return child, port
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=connection, args=(client,), daemon=True).start()


def http(args):
    """Wall seconds by latency of a page and pages at once; by "files" those from files."""
    data = generated(args.work, args.http_orders)
    bodies = pages(data / "orders.ndjson")
    table("source", "wall s", "CPU s", "extract s")
    results, walls = [], {}

    def measured(name, *more):
        figures = [run(args.etl, fresh(args.work), *more, "--users", data / "users.csv", "--products", data / "products.csv") for _ in range(args.runs)]
        wall, cpu, _ = median(figures)
        extract = statistics.median(figure[3]["stage_seconds"]["extract"] for figure in figures)
        row(name, wall, cpu, extract)
        results.append((figures[0][3]["rows_inserted"], json.dumps(figures[0][3]["revenue"], sort_keys=True)))
        return wall

    walls["files"] = measured("files", "--orders", data / "orders.ndjson")
    for latency, at_once in ((0.0, 1), (0.0, 4), (0.05, 1), (0.05, 32), (0.05, 64)):
        child, port = serve(bodies, latency)
        profile = args.work / "etl.toml"
        profile.write_text(
            f'[orders]\nlocation = "http://127.0.0.1:{port}/orders"\nconcurrency = {at_once}\n'
            '[orders.pagination]\nkind = "page"\npages_header = "x-total-pages"\n'
        )
        try:
            walls[latency, at_once] = measured(f"HTTP, {latency * 1000:.0f} ms a page, {at_once} at once", "--config", profile)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
    if len(set(results)) > 1:
        sys.exit(f"the layers differ: {results}")
    return walls


def startup(args):
    """Median milliseconds by command."""
    folder = args.work / "ten"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"order_id": f"A{n}", "created_at": f"2026-01-0{n % 3 + 1}T10:00:00Z", "items": [{"sku": "S", "price": "1.50"}]} for n in range(10)]
    (folder / "orders.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table("command", "median ms", "least ms")
    walls = [run(args.etl, fresh(args.work), "--orders", folder / "orders.ndjson")[0] * 1000 for _ in range(21)]
    row("etl run, ten orders", statistics.median(walls), min(walls))
    ten_orders = statistics.median(walls)
    walls = []
    for _ in range(21):
        start = time.perf_counter()
        subprocess.run([args.etl, "--help"], check=True, stdout=subprocess.DEVNULL)
        walls.append((time.perf_counter() - start) * 1000)
    row("etl --help", statistics.median(walls), min(walls))
    return {"ten orders": ten_orders, "--help": statistics.median(walls)}


def goals(args):
    """All that the goals of docs/performance.md need, in one session, and the table of them."""
    figures = side_by_side(args, "duckdb,polars,floor,etl", args.runs)
    slow = side_by_side(args, "pandas,etl", 1)  # minutes: once, beside a run of etl of its own
    etl = figures["full"]["etl"]
    most = run(args.etl, fresh(args.work), *files(generated(args.work, args.most)))[2]
    limits, by_days, commands = memory(args), history(args), startup(args)
    walls = None if args.quick else http(args)

    print(f"\n### The goals, over {args.orders:,} orders" + (", in short" if args.quick else ""))
    table("", "goal", "measured", "")

    def goal(what, text, measured, is_reached):
        row(what, text, measured, "reached" if is_reached else "not reached")

    def times_of(name, mode, peers):
        """How many times as long as etl takes a peer."""
        return peers[mode][name][0] / peers[mode]["etl"][0]

    for name, least, peers in (("pandas", 25, slow), ("duckdb", 3, figures), ("polars", 3, figures)):
        times = times_of(name, "full", peers)
        goal(f"full load of {args.orders:,} orders against {name}", f"at most 1/{least} of its time", f"1/{times:.1f}", times >= least)
    times = etl[0] / figures["full"]["floor"][0]
    goal("against the floor (parse the JSON, write as many bytes)", "at most 2.5 times", f"{times:.1f} times", times <= 2.5)
    for name, peers in (("pandas", slow), ("duckdb", figures), ("polars", figures)):
        row(f"an increment of 10,000 orders against {name}", "no goal", f"1/{times_of(name, 'incremental', peers):.1f}", "")
    goal(f"peak memory of {args.orders:,} orders", "under 500 MiB", f"{etl[2]:.0f} MiB", etl[2] < 500)
    goal(f"of {args.most:,}", "under 700 MiB", f"{most:.0f} MiB", most < 700)
    limited = limits["256MiB"]
    goal("`--memory-limit 256MiB` is obeyed", "but for 10 MiB of the program's own pages", f"{limited:.0f} MiB", limited <= 266)
    (few, (wall, peak)), (many, (later_wall, later_peak)) = list(by_days.items())[0], list(by_days.items())[-1]
    times, memories = later_wall / wall, later_peak / peak
    what = f"an increment over {many:,} days of history against one over {few:,}"
    goal(what, "at most 1.3 times, time and memory", f"{times:.2f} and {memories:.2f} times", max(times, memories) <= 1.3)
    if walls:
        rate = walls["files"] / walls[0.0, 4]
        least = "at least 80 % of the rate from files"
        goal("over HTTP, a server that answers at once", least, f"{rate:.0%}, four pages at once", rate >= 0.8)
    goal("ten orders", "under 50 ms", f"{commands['ten orders']:.0f} ms", commands["ten orders"] < 50)
    goal("`etl --help`", "under 10 ms", f"{commands['--help']:.0f} ms", commands["--help"] < 10)


PARTS = {"full": full, "growth": growth, "history": history, "memory": memory, "http": http, "startup": startup}
ON_REQUEST = {"goals": goals}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etl", required=True)
    parser.add_argument("--part", default=",".join(PARTS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--http-orders", type=int, default=200_000)
    parser.add_argument("--most", type=int, default=10_000_000, help="the largest size of `growth`: 8.4 GB of JSON")
    parser.add_argument("--peers", default="duckdb,polars,pandas,floor,etl")
    parser.add_argument("--days", type=lambda text: [int(days) for days in text.split(",")], default=[30, 300, 3000], help="of `history`")
    parser.add_argument("--quick", action="store_true", help="300,000 and 3,000,000 orders, three times, up to 300 days of history")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "etl-bench")
    args = parser.parse_args()
    if args.quick:
        args.orders, args.most, args.runs, args.days = 300_000, 3_000_000, 3, [30, 300]
    args.etl = str(pathlib.Path(args.etl).resolve())
    args.work.mkdir(parents=True, exist_ok=True)
    for part in args.part.split(","):
        print(f"\n## {part}", flush=True)
        (PARTS | ON_REQUEST)[part](args)


if __name__ == "__main__":
    main()
