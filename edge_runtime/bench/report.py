"""The results of ``bench``, compared with their bars and printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SAME_ENGINE = {"onnx": "onnxruntime", "tflite": "LiteRT"}
"""By engine of ours: the plain network of the same engine."""
HELD_ENGINES = ("onnx", "tflite")
"""The engines that the bars apply to; OpenVINO is shown beside them."""

_VARIANT_BARS = {
    "predict_ratio": ("JPEG → prediction ÷ bare", 1.25),
    "explain_ratio": ("with map ÷ without", 1.05),
    "phone_ratio": ("12 megapixels ÷ bare", 3.0),
}
_OWN_GRAPH = "predict_ratio"
"""The variant bar that a slow graph of ours would pass: held only where no plain network was measured."""
_CHAIN_BAR, _FASTEST_BAR, _OVERHEAD_BAR, _PIPELINE_BAR = 1.05, 1.1, 1.0, 0.8
_OVERHEAD_MS, _OVERHEAD_SHARE = 1.0, 0.2
"""From JPEG to prediction, a program may add the larger of these to the bare engine: milliseconds, or a share of it."""
_AUTO_BAR, _START_BAR, _MEMORY_BAR, _FOLDER_BAR = 1.1, 1.5, 1.25, 0.9

_HEADER = (
    f"{'variant':<14}{'bare ms':>9}{'pixels ms':>11}{'JPEG ms':>9}{'÷ bare':>8}{'÷ both':>8}"
    f"{'map ms':>9}{'÷ JPEG':>8}{'12 MP ms':>10}{'÷ bare':>8}"
)


@dataclass(frozen=True)
class Bar:
    """A measured ratio and its bar: the largest allowed value, or with ``at_least`` the smallest."""

    subject: str
    ratio: str
    measured: float
    bar: float
    at_least: bool = False

    @property
    def inside(self) -> bool:
        """Whether the ratio, rounded to the two decimals that are printed, meets its bar."""
        measured = round(self.measured, 2)
        return measured >= self.bar if self.at_least else measured <= self.bar


def find_bars(result: dict[str, Any]) -> list[Bar]:
    """Return every bar for which the result of a bench has a measurement."""
    plain = result.get("plain")
    bars = [
        Bar(row["variant"], name, row[key], bar)
        for key, (name, bar) in _VARIANT_BARS.items()
        for row in result["rows"]
        if row["variant"] in [f"{engine}-int8" for engine in HELD_ENGINES] and not (plain and key == _OWN_GRAPH)
    ]
    if plain:
        bars += _plain_bars(plain, result["auto"])
    else:
        bars.append(Bar("auto", f"{result['auto']} ÷ the fastest engine", result["auto_ratio"], _AUTO_BAR))
    for engine in HELD_ENGINES:
        script, ours = (result.get("cold", {}).get(f"{engine} {who}") for who in ("script", "dermedge"))
        if script and ours:
            bars.append(Bar(engine, "cold start ÷ script", ours["seconds"] / script["seconds"], _START_BAR))
            bars.append(Bar(engine, "peak memory ÷ script", ours["mebibytes"] / script["mebibytes"], _MEMORY_BAR))
        folder = result.get("folder", {}).get(engine)
        if folder:
            bars.append(Bar(engine, "folder mode ÷ (CPUs × one thread)", folder["ratio"], _FOLDER_BAR, True))
    return bars


def _plain_bars(plain: dict[str, Any], auto: str) -> list[Bar]:
    """Return the bars that other people's networks set, for what was measured in the same turns."""
    chains, others = plain["chain"], plain["plain"]
    bars = [
        Bar(f"{engine}-int8", f"chain ÷ plain ResNet18 on {same}", chains[engine] / others[same], _CHAIN_BAR)
        for engine, same in SAME_ENGINE.items()
        if engine in chains and same in others
    ]
    fastest = min(others, key=others.__getitem__)
    bars.append(Bar("auto", f"{auto} ÷ fastest plain ({fastest})", chains[auto] / others[fastest], _FASTEST_BAR))
    for engine in HELD_ENGINES:
        if engine in chains:
            added, allowed = plain["JPEG"][engine] - chains[engine], max(_OVERHEAD_MS, _OVERHEAD_SHARE * chains[engine])
            bars.append(Bar(f"{engine}-int8", "JPEG → prediction, added ÷ allowed", added / allowed, _OVERHEAD_BAR))
    pipelines = dict(plain["pipeline"])
    if script := pipelines.pop("script", None):
        bars.append(Bar("auto", "with heat map ÷ plain script", pipelines[auto] / script, _PIPELINE_BAR))
    return bars


def _print_plain(plain: dict[str, Any]) -> None:
    titles = {
        "plain": "plain ResNet18, int8 (ncnn: fp16), by each engine's own tools, ready tensor → logits",
        "chain": "dermedge int8, features and head, ready image → logits",
        "JPEG": "dermedge int8, JPEG → prediction",
        "pipeline": "JPEG → prediction and heat map (script: Pillow, torchvision, onnxruntime, pytorch-grad-cam)",
    }
    print("\noutside yardsticks, in turns")
    for kind, title in titles.items():
        print(f"  {title}")
        for name, milliseconds in plain.get(kind, {}).items():
            print(f"    {name:<42}{milliseconds:>9.2f} ms")
    if floor := plain.get("floor"):
        best = min(milliseconds for name, milliseconds in plain["chain"].items() if name in HELD_ENGINES)
        print(
            f"  compute floor {floor['milliseconds']:.2f} ms on one core "
            f"(int8 GEMM: {floor['giga_multiply_adds_per_second']:.0f} G multiply-adds/s); "
            f"our better engine takes {best / floor['milliseconds']:.2f} times that"
        )


def bars_as_json(bars: list[Bar]) -> list[dict[str, Any]]:
    """Return the bars as objects for ``--json``."""
    return [{**asdict(bar), "inside": bar.inside} for bar in bars]


def print_report(result: dict[str, Any], bars: list[Bar]) -> None:
    """Print all tables and, last, each bar."""
    conditions = f"{result['threads']} thread(s), lower quartiles of {result['rounds']} interleaved rounds"
    print(f"{result['cpu']}, {conditions}")
    print(_HEADER)
    for row in result["rows"]:
        print(
            f"{row['variant']:<14}{row['bare_ms']:>9.2f}{row['pixels_ms']:>11.2f}{row['predict_ms']:>9.2f}"
            f"{row['predict_ratio']:>8.2f}{row['floor_ratio']:>8.2f}{row['explain_ms']:>9.2f}"
            f"{row['explain_ratio']:>8.2f}{row['phone_ms']:>10.2f}{row['phone_ratio']:>8.2f}"
        )
    if result.get("peers"):
        print("\nthe same model in other engines, in turns")
        for name, milliseconds in result["peers"].items():
            print(f"  {name:<44}{milliseconds:>9.2f} ms")
    if result.get("plain"):
        _print_plain(result["plain"])
    if result.get("cold"):
        print("\ncold start to printed prediction, and peak memory")
        for name, measured in result["cold"].items():
            print(f"  {name:<44}{1e3 * measured['seconds']:>9.0f} ms {measured['mebibytes']:>8.1f} MiB")
    if result.get("folder"):
        print("\nfolder mode, file → written prediction")
        for engine, measured in result["folder"].items():
            print(
                f"  {engine}: {measured['folder_per_second']:.1f} per second on {measured['cpus']} CPUs, "
                f"{measured['single_per_second']:.1f} on one: {measured['ratio']:.2f} of the ideal; the bare engine "
                f"on all of them {measured['bare_ratio']:.2f}; by CPU time {measured['cpu_time_ratio']:.2f}"
            )
    for variant, shares in result.get("profile", {}).items():
        print(f"\n{variant}: share of onnxruntime's time in the backbone, by kind of operator")
        for operator, share in shares.items():
            print(f"  {operator:<44}{100 * share:>9.1f} %")
    print("\nbars")
    for bar in bars:
        sign = "≥" if bar.at_least else "≤"
        verdict = "inside" if bar.inside else "OUTSIDE"
        print(f"  {bar.subject:<12}{bar.ratio:<40}{bar.measured:>6.2f} {sign} {bar.bar:<5}{verdict}")
