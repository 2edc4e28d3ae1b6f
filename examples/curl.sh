#!/bin/sh
# One photo asked for in many ways: by prompt, by point, by its id, cut out, as JSON, many at once. Pictures go to demo-output/.
#   SEGMIND_GATEWAY_KEY=SG_gw… examples/curl.sh
set -eu
cd "$(dirname "$0")/.."
url=${SEGMIND_GATEWAY_URL:-http://localhost:8080}
key=${SEGMIND_GATEWAY_KEY:-$(cat data/first-team.key)}
photo=examples/photos/coffee.jpg
mkdir -p demo-output

ask() { # PICTURE CURL-ARGUMENTS...: what matters of the headers to stdout
  picture=demo-output/$1
  shift
  curl --fail-with-body -sS -o "$picture" -D - -H "x-api-key: $key" "$@" "$url/segment" |
    grep -iE '^(x-cache|x-cost|x-image-id|x-remaining-credits):' || { cat "$picture" >&2 && exit 1; }
  echo "→ $picture"
}

ask cup.jpg -F image=@$photo -F 'prompt=the cup'
ask point.jpg -F image=@$photo -F 'coordinates=[[290,200]]' -F 'remove_coordinates=[[20,20]]'

# The image is there now: its id is enough, here for the mask alone.
id=sha256:$(sha256sum $photo | cut -d ' ' -f 1)
ask mask.jpg -F "image=$id" -F 'prompt=the cup' -F output=mask

# Made of that mask, and free: the cup with nothing around it.
ask cup.png -F "image=$id" -F 'prompt=the cup' -F output=cutout

# JSON in, JSON out: the answer is {"image":"<base64>"}.
ask cup.json -H 'content-type: application/json' -d "{\"image\":\"$id\",\"prompt\":\"the cup\",\"base64\":true}"

# Many selections at once, one line of JSON each as they are done.
curl --fail-with-body -sS -H "x-api-key: $key" -H 'accept: application/x-ndjson' -H 'content-type: application/json' "$url/segment/batch" -d "{
  \"image\": \"$id\",
  \"selections\": [{\"id\": \"cup\", \"prompt\": \"the cup\", \"output\": \"rle\"}, {\"id\": \"table\", \"coordinates\": [[20, 20]], \"output\": \"rle\"}]
}" | cut -c 1-180
