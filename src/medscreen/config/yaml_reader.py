"""Reads YAML files; errors become MedscreenError with the line."""

from pathlib import Path
from typing import Any

import yaml

from medscreen.errors import MedscreenError


class _UniqueKeys(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys, of which PyYAML silently keeps the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"duplicate key {key.value!r} in one block", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return node


def read_yaml(path: Path) -> Any:
    """The content of a UTF-8 YAML file; raises MedscreenError, with the line, for invalid YAML."""
    try:
        loader = _UniqueKeys(path.read_text(encoding="utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except OSError as error:
        raise MedscreenError(f"{path.name} can't be read ({error.strerror}): restore it with git.") from error
    except UnicodeDecodeError as error:
        raise MedscreenError(f"{path.name} is not UTF-8 text (byte {error.start}). Save it in UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise MedscreenError(
            f"{path.name}{where}: invalid YAML ({error.problem or error.context}). Correct this line."
        ) from error
    except yaml.reader.ReaderError as error:
        raise MedscreenError(
            f"{path.name}: invalid YAML (character {error.position + 1} is not allowed). Remove it."
        ) from error
    except (ValueError, RecursionError) as error:  # an impossible date, a number of 5,000 digits, endless nesting
        raise MedscreenError(f"{path.name}: invalid YAML ({' '.join(str(error).split())}). Correct it.") from error
