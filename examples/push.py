"""Send a prediction and its truth. usage: DOSIMETER=http://127.0.0.1:9187 TOKEN=... python3 push.py"""
import os, time, requests

api = os.environ.get("DOSIMETER", "http://127.0.0.1:9187") + "/api/v1/models/chest-xray/"
session = requests.Session()
session.headers["Authorization"] = "Bearer " + os.environ.get("TOKEN", "")

def send(record, rows):
    while (answer := session.post(api + record, json=rows)).status_code in (429, 503):
        time.sleep(int(answer.headers.get("Retry-After", 1)))
    answer.raise_for_status()  # 200: committed. Anything else: send all of it again, or see the answer's rejections.
    return answer.json()

print(send("predictions", [{"case": "1.2.840.1", "occurred_at": "2025-02-01T10:00:00Z", "version": "1",
                            "scores": {"effusion": 0.83, "nodule": 0.02}, "attributes": {"site": "north"}}]))
print(send("assertions", [{"case": "1.2.840.1", "observed_at": "2025-02-02T08:00:00Z", "source": "report",
                           "values": {"effusion": 1, "nodule": 0}}]))
