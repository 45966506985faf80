"""Ask a running review who a photograph shows, and say what a person decided.

    python examples/review_client.py ADDRESS PHOTOGRAPH [VIEWPOINT [same|different]]

ADDRESS is what `scarmatch review` printed, or what its page "Exports" makes; it works once. With "same" or "different"
the first candidate is confirmed or rejected. Needs httpx.
"""

import sys
import time
from pathlib import Path

import httpx

address, photograph, *more = sys.argv[1:]
viewpoint, verdict = [*more, "", ""][:2]
with httpx.Client(follow_redirects=True, timeout=60) as client:
    if client.get(address).is_error:
        sys.exit("the address does not open the review: it works once, and was opened before, or the server has ended")
    base = address.split("/enter")[0]
    session = client.get(f"{base}/api/session").json()
    client.headers[session["header"]] = session["token"]

    with Path(photograph).open("rb") as file:
        sent = client.post(f"{base}/api/photographs", files={"file": file}, data={"viewpoint": viewpoint})
    if sent.is_error:
        sys.exit(sent.json()["error"])
    image = sent.json()["image"]
    while True:
        question = client.get(f"{base}/api/question", params={"image": image}).json()
        if question["status"] != "not matched yet":
            break
        time.sleep(0.5)

    for one in question["candidates"][:5]:
        print(f"{one['probability']:.3f}  {one['name'] or 'no name yet'}  {one['photographs'][0]['image']}")
    print(f"{question['new_individual']:.3f}  not in the catalogue")

    if verdict and question["candidates"]:
        best = question["candidates"][0]["photographs"][0]["image"]
        decision = {"kind": verdict, "images": [image, best]}
        decided = client.post(f"{base}/api/decisions", json={"decisions": [decision]})
        if decided.is_error:
            sys.exit(decided.json()["error"])
        question = client.get(f"{base}/api/question", params={"image": image}).json()
        print(
            f"decision {decided.json()['decisions'][0]['number']}: now it is {question['name'] or question['status']}"
        )
