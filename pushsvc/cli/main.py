import click


@click.group()
def cli() -> None:
    """An open push notification dispatcher."""
