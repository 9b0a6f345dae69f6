"""Keys that can't be used now: they stay in the key line, dim, and say why when pressed."""


class Reasons:
    """For screens and widgets that know why an action is not to be had."""

    def why_not(self, action: str) -> str:
        """Why an action can't be done now; empty where it can."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None is Textual's word for an action that is shown but disabled."""
        return None if self.why_not(action) else True
