"""python -m pushsvc: the same as the pushsvc command."""

from pushsvc.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="pushsvc")
