"""Ask a running review who a photograph shows, and say what a person decided.

    python examples/review_client.py ADDRESS PHOTOGRAPH [VIEWPOINT]

ADDRESS is what `scarmatch review` printed, or what its page "More" makes; it works once. Needs httpx.
"""

import sys
import time
from pathlib import Path

import httpx

address, photograph, *viewpoint = sys.argv[1:]
with httpx.Client(follow_redirects=True, timeout=60) as client:
    client.get(address).raise_for_status()
    base = address.split("/enter")[0]
    session = client.get(f"{base}/api/session").json()
    client.headers[session["header"]] = session["token"]

    with Path(photograph).open("rb") as file:
        sent = client.post(
            f"{base}/api/photographs", files={"file": file}, data={"viewpoint": viewpoint[0] if viewpoint else ""}
        )
    if sent.is_error:
        sys.exit(sent.json()["error"])
    image = sent.json()["image"]
    while (question := client.get(f"{base}/api/question", params={"image": image}).json())[
        "status"
    ] == "not matched yet":
        time.sleep(1)

    for one in question["candidates"][:5]:
        print(f"{one['probability']:.3f}  {one['name'] or 'no name yet'}  {one['photographs'][0]['image']}")
    print(f"{question['new_individual']:.3f}  not in the catalogue")
