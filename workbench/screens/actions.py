"""What the palette finds: actions of the screen by their names and by what they do."""

from textual.command import Hit, Hits
from textual.system_commands import SystemCommandsProvider

from workbench.text.fuzzy import narrowed

_LEAST = 0.01
"""Score of what is found by what it does alone."""


class Actions(SystemCommandsProvider):
    """As Textual's, by the filter of all lists."""

    async def search(self, query: str) -> Hits:
        """Those that match, the ones that match by name first."""
        commands = [*self.app.get_system_commands(self.screen)]
        matcher = self.matcher(query)
        for command in narrowed(commands, query, lambda one: f"{one.title} {one.help}"):
            score = max(matcher.match(command.title), _LEAST)
            title = matcher.highlight(command.title)
            yield Hit(score, title, command.callback, help=command.help)
