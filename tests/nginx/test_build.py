"""What the module's build says when something is missing."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from support import PATIENCE, ROOT

BUILD = ROOT / "bindings/nginx/build"


class Build(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def says(self, *words, **environment):
        done = subprocess.run([BUILD, self.folder / "out/module.so"], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for word in words:
            self.assertIn(word, done.stdout)
        self.assertFalse((self.folder / "out/module.so").exists())

    def package(self, name):
        (self.folder / f"{name}.pc").write_text(f"libdir=/nowhere\nincludedir=/nowhere\nName: {name}\nDescription: a test\nVersion: 1\n")

    def test_missing_packages(self):
        found = {"PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(self.folder)}
        self.says("libtel is not found by pkg-config", "PKG_CONFIG_PATH", **found)
        self.package("tel")
        self.says("OpenSSL's headers are missing", "libssl-dev", **found)

    def test_missing_tools(self):
        tools = self.folder / "tools"
        tools.mkdir()
        for tool in ("bash", "env", "dirname", "basename", "mkdir"):
            (tools / tool).symlink_to(subprocess.check_output(["sh", "-c", f"command -v {tool}"], text=True).strip())
        for missing in ("cc", "make", "pkg-config"):
            self.says(f"{missing} is missing (Debian: apt-get install gcc make pkg-config)", PATH=str(tools))
            (tools / missing).symlink_to(f"/usr/bin/{missing}")

    def test_nginx_own_configure(self):
        """With nginx's sources, its configure reads `config`, which has messages of its own."""
        def says(*words, **environment):
            done = subprocess.run(["sh", "-c", '. "$1/bindings/nginx/config"', "configure", ROOT], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(self.folder), **environment})
            self.assertEqual(done.returncode, 1)
            for word in words:
                self.assertIn(word, done.stdout)
        says("configure: error: ngx_http_tel_module needs libtel", "PKG_CONFIG_PATH", ngx_module_link="DYNAMIC")
        self.package("tel")
        says("ngx_http_tel_module is a dynamic module: use --add-dynamic-module=", ngx_module_link="ADDON")


if __name__ == "__main__":
    unittest.main()
