"""Where Hydra finds presets, and models of one's own: `ablate://FOLDER`, a folder of which only the groups are seen.

`file://` would make a group of every folder in it: beside a folder `layers/`, `layers=2` would be the choice of a file.
"""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin


class GroupsSource(ConfigSource):
    """The YAML files of a folder, and of the groups in it."""

    @staticmethod
    def scheme() -> str:
        return "ablate"

    def load_config(self, config_path: str) -> ConfigResult:
        from ablate.config.errors import UserError, short_path
        from ablate.config.presets import load

        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {self._file(config_path)}")
        text, content = load(self._file(config_path))
        try:
            header = self._get_header_dict(text)
        except ValueError as error:  # of a comment with an @ that Hydra takes for a word of its own
            raise UserError(
                f"{short_path(self._file(config_path))}: {error}; begin the comment with another word"
            ) from error
        if header["package"] is None and config_path.startswith("sweeps/"):
            header["package"] = "_global_"
        return ConfigResult(provider=self.provider, path=self.full_path(), config=content, header=header)

    def available(self) -> bool:
        return os.path.isdir(self.path)

    def is_group(self, config_path: str) -> bool:
        from ablate.config.knobs import GROUPS

        return config_path == "" or (config_path in GROUPS and os.path.isdir(Path(self.path, config_path)))

    def is_config(self, config_path: str) -> bool:
        from ablate.config.registry import OF_GROUP

        group, _, name = config_path.rpartition("/")
        if name.removesuffix(".yaml") in OF_GROUP.get(group, ()):  # what is registered comes before a person's files
            return False
        return self.is_group(group) and os.path.isfile(self._file(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        from ablate.config.choice_files import files_of
        from ablate.config.knobs import GROUPS

        found: list[str] = []
        if config_path == "" and results_filter != ObjectType.CONFIG:
            found += [group for group in GROUPS if self.is_group(group)]
        if self.is_group(config_path) and results_filter != ObjectType.GROUP:
            found += [name.removesuffix(".yaml") for name in files_of(Path(self.path, config_path))]
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))


class GroupsOnTheSearchPath(SearchPathPlugin):
    """Adds the folders that the command line asks for; none in a program of others."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from ablate.config.choice_files import SEARCHED

        for folder in SEARCHED.get():
            search_path.append("ablate", f"{GroupsSource.scheme()}://{folder}")
