"""Compiles what is wrong, and checks that the first error line names the cause.

    check_message.py SOURCE COMPILER ARGUMENT...

The source's first line says what is expected: "// expect: REGEXP"; its second may say "// flags: FLAG...".
"""
import re
import subprocess
import sys

source, compiler = sys.argv[1], sys.argv[2:]
with open(source, encoding="utf-8") as lines:
    expected = re.match(r"// expect: (.*)", lines.readline())[1]
    flags = re.match(r"(?:// flags: (.*))?", lines.readline())[1]
run = subprocess.run(compiler + (flags or "").split() + ["-fsyntax-only", "-fno-diagnostics-color", "-Werror=unused-result", source],
                     capture_output=True, text=True)
errors = [line for line in run.stderr.splitlines() if re.search(r"\berror: ", line)]
if run.returncode == 0 or not errors:
    sys.exit(f"{source} compiles")
if not re.search(expected, errors[0].replace("‘", "'")):
    sys.exit(f"the first error line does not say \"{expected}\":\n{errors[0]}\n\n{run.stderr[:4000]}")
print(errors[0])
