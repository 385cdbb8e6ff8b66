"""Looks at the built documentation in a browser: look_at_docs.py HTML-DIRECTORY PICTURE-DIRECTORY.

Each page of the book, the main page and the reference of Feed are shown in a wide and a narrow window. What is checked is
what a reader would see to be broken: a page that is empty, a picture that is missing, text that runs out of the window, a
link into nothing, a macro of ours in a declaration. A picture of each is kept for people.
"""
import os
import sys
from urllib.parse import unquote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WINDOWS = {"wide": (1280, 900), "narrow": (500, 900)}

LOOK = """
const contents = document.querySelector('div.contents') || document.body;
const out_of_window = [];
for (const part of contents.querySelectorAll('p, h1, h2, li, img, object'))
    if (part.getBoundingClientRect().right > window.innerWidth + 2 && !part.closest('table, pre, div.fragment'))
        out_of_window.push(part.tagName + ': ' + part.textContent.slice(0, 60));
return {
    text: contents.innerText,
    pictures: [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).map(i => i.src),
    links: [...contents.querySelectorAll('a[href]')].map(a => a.href),
    out_of_window,
};
"""


def browser():
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--force-device-scale-factor=1"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


def faults(page, look):
    if len(look["text"].split()) < 40:
        yield "there is hardly any text"
    for picture in look["pictures"]:
        yield f"a picture is missing: {picture}"
    for part in look["out_of_window"][:3]:
        yield f"runs out of the window: {part!r}"
    if page.startswith("class") and "SIDECAR_API" in look["text"]:
        yield "SIDECAR_API stands in a declaration"
    for link in sorted(set(look["links"])):
        path = unquote(link.split("#")[0].removeprefix("file://"))
        if link.startswith("file://") and not os.path.exists(path):
            yield f"a link into nothing: {path}"


def main():
    html, pictures = (os.path.abspath(path) for path in sys.argv[1:3])
    os.makedirs(pictures, exist_ok=True)
    pages = sorted(name for name in os.listdir(html) if name.startswith("md_docs_") and name.endswith(".html"))
    pages += ["index.html", "classsidecar_1_1Feed.html"]
    bad = 0
    driver = browser()
    try:
        for page in pages:
            for window, (width, height) in WINDOWS.items():
                driver.set_window_size(width, height)
                driver.get(f"file://{html}/{page}")
                driver.save_screenshot(f"{pictures}/{page.removesuffix('.html')}-{window}.png")
                for fault in faults(page, driver.execute_script(LOOK)):
                    bad += 1
                    print(f"{page}, {window}: {fault}")
    finally:
        driver.quit()
    print(f"{len(pages)} pages in {len(WINDOWS)} windows, {bad} faults; pictures in {pictures}")
    return 1 if bad else 0


sys.exit(main())
