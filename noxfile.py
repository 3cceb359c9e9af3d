"""Tasks for developers; `nox -l` lists them."""

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the Python tests."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", "tests", *session.posargs)


@nox.session
def targets(session: nox.Session) -> None:
    """Run the Python tests once on each instruction set of this machine."""
    session.install(".[test]")
    listing = session.run(
        "python", "-c", "import fastnorm; print(*fastnorm.available_targets())", silent=True
    )
    for target in str(listing).split():
        env = {"FASTNORM_TARGET": target}
        session.run(
            "python", "-c", f"import fastnorm; assert fastnorm.active_target() == {target!r}", env=env
        )
        session.run("python", "-m", "pytest", "tests", "-q", *session.posargs, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and formatting."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "python/fastnorm")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Make random calls with hostile arguments for a minute, or as the arguments say."""
    session.install(".[test]")
    session.run("python", "tests/fuzz_calls.py", *session.posargs)


@nox.session
@nox.parametrize(
    "versions", [["scikit-learn==1.7.0", "scipy==1.15.*", "pytest==8.*"], []], ["oldest", "newest"]
)
def sklearn(session: nox.Session, versions: list[str]) -> None:
    """Test the estimators with the oldest and the newest version of scikit-learn."""
    session.install(".[test,sklearn]", *versions)
    session.run("python", "-m", "pytest", "tests/test_sklearn.py", *session.posargs)


@nox.session
def torch(session: nox.Session) -> None:
    """Test what is for PyTorch."""
    session.install(".[test,torch]", "matplotlib")
    session.run("python", "-m", "pytest", "tests/test_torch_bridge.py", *session.posargs)


@nox.session
def dask(session: nox.Session) -> None:
    """Test what is for Dask."""
    session.install(".[test,dask,sklearn]")
    session.run("python", "-m", "pytest", "tests/test_dask.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, with warnings as errors, and follow its internal links."""
    session.install(".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "build/site")
    session.run("python", "docs/_ext/links.py", "build/site")


@nox.session
def bench(session: nox.Session) -> None:
    """Time every op beside NumPy and whichever peers are installed."""
    session.install(".[bench]")
    session.run("python", "-m", "pytest", "bench", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel of this Python and machine, check it, and run the smallest test in it."""
    session.install("build", "pytest")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--wheel", "-o", folder, ".")
    (built,) = Path(folder).glob("*.whl")
    session.run("python", "tools/check_wheel.py", str(built))
    session.install(str(built))
    shutil.copy("tests/test_smoke.py", folder)
    with session.chdir(folder):
        session.run("python", "-m", "pytest", "-q", "test_smoke.py")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build and test all wheels that this machine can, in containers on Linux, as a release does."""
    session.install("cibuildwheel")
    session.run("cibuildwheel", "--output-dir", "dist", *session.posargs)
