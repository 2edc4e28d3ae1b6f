"""Segments a photo through the gateway: python3 examples/client.py PHOTO PROMPT [OUTPUT]

Needs `pip install requests`. SEGMIND_GATEWAY_URL defaults to http://localhost:8080, SEGMIND_GATEWAY_KEY is the team's key.
"""

import hashlib
import os
import sys
import time

import requests

URL = os.environ.get("SEGMIND_GATEWAY_URL", "http://localhost:8080")
KEY = os.environ.get("SEGMIND_GATEWAY_KEY", "")


def send(image, prompt):
    """Sends one request. Names the image by its hash first and uploads it only if the gateway does not hold it."""
    common = {"headers": {"x-api-key": KEY}, "timeout": 90}
    fields = {"prompt": prompt, "overlay_mask": True}
    name = "sha256:" + hashlib.sha256(image).hexdigest()
    response = requests.post(f"{URL}/segment", json={"image": name, **fields}, **common)
    if response.status_code == 404 and response.json()["code"] == "unknown_image":
        response = requests.post(f"{URL}/segment", files={"image": image}, data=fields, **common)
    return response


def segment(photo, prompt, attempts=3):
    """Returns the response with the picture. Waits and retries if the gateway says that it may help."""
    try:
        with open(photo, "rb") as file:
            image = file.read()
    except OSError as error:
        raise SystemExit(f"{photo}: {error.strerror}") from None
    for attempt in range(1, attempts + 1):
        try:
            response = send(image, prompt)
        except requests.RequestException as error:
            raise SystemExit(f"{URL}: {error}") from None
        if response.ok:
            return response
        problem = response.json()
        if not problem["retryable"] or attempt == attempts:
            raise SystemExit(f"{problem['status']} {problem['code']}: {problem['detail']} (request {problem['requestId']})")
        time.sleep(int(response.headers.get("retry-after", 2**attempt)))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    answer = segment(sys.argv[1], sys.argv[2])
    output = sys.argv[3] if len(sys.argv) > 3 else "segmented.jpg"
    with open(output, "wb") as file:
        file.write(answer.content)
    print(f"{answer.headers['x-cache']}, cost {answer.headers['x-cost']} credits → {output}")
