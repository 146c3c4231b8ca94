"""What has to be there before anything is measured: virtual environment, cortado, Caffe's messages."""

import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PACKAGES = (
    "numpy", "protobuf", "grpcio-tools", "torch", "onnx", "onnxruntime", "openvino",
    "opencv-python-headless==4.12.0.88",
)

VERSIONS = """
import importlib.metadata as m, json, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({n: version(n) for n in sys.argv[1:]}))
"""

FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "asimdhp", "bf16", "i8mm", "sve",
)


def python_of(venv):
    folder = "Scripts" if os.name == "nt" else "bin"
    return venv / folder / "python"


def versions(python):
    """The installed version of each package, None where it is missing."""
    names = [p.partition("==")[0] for p in PACKAGES]
    out = subprocess.check_output([python, "-c", VERSIONS, *names], text=True)
    return json.loads(out)


def install(venv):
    """Makes the virtual environment, or what is missing in it; returns its Python."""
    python = python_of(venv)
    if not python.exists():
        print(f"making {venv}", file=sys.stderr)
        subprocess.check_call([sys.executable, "-m", "venv", venv])
    have = versions(python)
    missing = []
    for package in PACKAGES:
        name, _, wanted = package.partition("==")
        if have[name] is None or (wanted and have[name] != wanted):
            missing.append(package)
    if missing:
        print(f"installing {', '.join(missing)}", file=sys.stderr)
        subprocess.check_call([python, "-m", "pip", "install", "--quiet", *missing])
    return python


def messages(python, work):
    """Compiles proto/caffe.proto, with what it imports, for Python."""
    proto = ROOT / "proto"
    subprocess.check_call(
        [python, "-m", "grpc_tools.protoc", f"-I{proto}", f"--python_out={work}",
         "caffe.proto", "forks.proto", "values.proto"]
    )


def build():
    """Builds cortado and returns its path."""
    command = ["cargo", "build", "--release", "--bin", "cortado", "--message-format=json"]
    out = subprocess.check_output(command, cwd=ROOT, text=True)
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            return pathlib.Path(message["executable"])
    raise SystemExit("cargo built no program")


def commit():
    """The commit that is checked out, with a + where files differ from it."""
    try:
        name = subprocess.check_output(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
        ).strip()
        dirty = subprocess.call(["git", "diff", "--quiet", "HEAD", "--", "src", "proto"], cwd=ROOT)
        return name + ("+" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine():
    """Processor, its instruction sets, and the system."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    except OSError:
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "instruction sets": " ".join(f for f in FLAGS if f in flags) or "unknown",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }
