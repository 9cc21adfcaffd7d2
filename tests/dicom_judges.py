"""Programs that judge DICOM files and an archive that stores them, where they are installed; tests skip where not."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from servers import free_port, serving

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def program(name: str, package: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}: install Debian's {package} to run this test")
    return path


def dciodvfy(path: Path) -> list[str]:
    """Errors of a file by dicom3tools, which knows the standard's conditions."""
    command = [program("dciodvfy", "dicom3tools"), path]
    done = subprocess.run(command, capture_output=True, encoding="latin-1", check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Abort"))]


def report_text(path: Path) -> str:
    """A Structured Report as DCMTK prints it, or its errors."""
    command = [program("dsrdump", "dcmtk"), "+Pl", "+Pc", path]
    done = subprocess.run(command, capture_output=True, encoding="latin-1", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def dicom_validator(path: Path) -> list[str]:
    """Errors of a file by dicom-validator: attributes that are missing, empty or not of its IOD.

    dicom-validator would download the standard. Here it has the tables of the standard that highdicom carries, which
    lack the conditions: where these apply, dciodvfy judges.
    """
    validator = pytest.importorskip("dicom_validator.validator.iod_validator")
    handler = pytest.importorskip("dicom_validator.validator.error_handler")

    quiet = handler.ValidationResultHandlerBase()
    result = validator.IODValidator(dcmread(path), _standard(), error_handler=quiet).validate()
    found = [
        f"{module}: {tag.tag} {keyword_for_tag(tag.tag)} {error.code.name}"
        for module, errors in result.module_errors.items()
        for tag, error in errors.items()
    ]
    return found or ([] if result.errors == 0 else [result.status.name])


@cache
def _standard() -> Any:
    """The tables of highdicom as those that dicom-validator makes of the standard."""
    from dicom_validator.validator.dicom_info import DicomInfo
    from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map

    modules: dict[str, Any] = {}
    for name, attributes in get_module_attribute_map().items():
        modules[name] = {}
        # pydicom's dictionary lacks the newest attributes
        known = [of for of in attributes if all(map(tag_for_keyword, [*of["path"], of["keyword"]]))]
        for attribute in sorted(known, key=lambda of: len(of["path"])):
            place = modules[name]
            for keyword in attribute["path"]:
                place = place[_tag(keyword)].setdefault("items", {})
            # whether a content item has an attribute depends on its value type
            kind = "3" if name == "sr-document-content" else attribute["type"]
            place[_tag(attribute["keyword"])] = {"name": attribute["keyword"], "type": kind, "cond": {"type": "U"}}
    content = modules["sr-document-content"][_tag("ContentSequence")]
    content["items"][_tag("ContentSequence")] = content  # items of a tree have items
    iods = {
        uid: {
            "title": iod,
            "group_macros": {},
            "modules": {
                module["key"]: {"ref": module["key"], "use": module["usage"], "cond": {"type": "U"}}
                for module in get_iod_module_map()[iod]
            },
        }
        for uid, iod in get_sop_class_iod_map().items()
    }
    return DicomInfo({}, iods, modules)


def _tag(keyword: str) -> str:
    tag = Tag(tag_for_keyword(keyword))
    return f"({tag.group:04X},{tag.element:04X})"


@contextmanager
def orthanc(folder: Path, stow_to: str = "") -> Iterator[str]:
    """An Orthanc without DICOM port; its address. `stow_to`: a DICOMweb server that it knows as `medscreen`."""
    command = program("Orthanc", "orthanc")
    if not PLUGIN.exists():
        pytest.skip("no DICOMweb plugin of Orthanc: install Debian's orthanc-dicomweb to run this test")
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": (port := free_port()),
        "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Servers": {"medscreen": {"Url": stow_to}} if stow_to else {}},
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    address = f"http://127.0.0.1:{port}"
    with serving([command, str(folder / "settings.json")], address, folder, {}, page="system"):
        yield address
