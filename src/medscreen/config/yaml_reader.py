"""YAML as plain values, with a sentence for what is none."""

from pathlib import Path
from typing import Any

import yaml

from medscreen.errors import MedscreenError


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a block that has a key twice, of which the loader would keep the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice in one block", problem_mark=key.start_mark
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
        raise MedscreenError(f"{path.name} is no UTF-8 text (byte {error.start}); save it in UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise MedscreenError(
            f"{path.name}{where}: no valid YAML ({error.problem or error.context}); correct it there."
        ) from error
    except yaml.reader.ReaderError as error:
        raise MedscreenError(
            f"{path.name} is no valid YAML: its character {error.position + 1} is no text; take it out."
        ) from error
    except (ValueError, RecursionError) as error:  # a date that is none, a number of 5,000 digits, blocks without end
        raise MedscreenError(f"{path.name} is no valid YAML ({' '.join(str(error).split())}); correct it.") from error
