#!/bin/sh
# Segments one photo by prompt, by point, by id, as a cutout, as JSON and in a batch.
# Writes the pictures to demo-output/.
#   SEGMIND_GATEWAY_KEY=SG_gw… examples/curl.sh
set -eu
cd "$(dirname "$0")/.."
url=${SEGMIND_GATEWAY_URL:-http://localhost:8080}
key=${SEGMIND_GATEWAY_KEY:-$(cat data/first-team.key)}
photo=examples/photos/coffee.jpg
mkdir -p demo-output

segment() { # PICTURE CURL-ARGUMENTS...: prints the headers of the gateway
  picture=demo-output/$1
  shift
  curl --fail-with-body -sS -o "$picture" -D - -H "x-api-key: $key" "$@" "$url/segment" |
    grep -iE '^(x-cache|x-cost|x-image-id|x-remaining-credits):' || { cat "$picture" >&2 && exit 1; }
  echo "→ $picture"
}

segment cup.jpg -F image=@$photo -F 'prompt=the cup'
segment point.jpg -F image=@$photo -F 'coordinates=[[290,200]]' -F 'remove_coordinates=[[20,20]]'

# The gateway holds the image now, so its id is enough, here for the mask.
id=sha256:$(sha256sum $photo | cut -d ' ' -f 1)
segment mask.jpg -F "image=$id" -F 'prompt=the cup' -F output=mask

# The cutout is made from that mask and is free.
segment cup.png -F "image=$id" -F 'prompt=the cup' -F output=cutout

# JSON in, JSON out: the response is {"image":"<base64>"}.
segment cup.json -H 'content-type: application/json' -d "{\"image\":\"$id\",\"prompt\":\"the cup\",\"base64\":true}"

# A batch: one line of JSON for each selection, as they finish.
curl --fail-with-body -sS -H "x-api-key: $key" -H 'accept: application/x-ndjson' -H 'content-type: application/json' "$url/segment/batch" -d "{
  \"image\": \"$id\",
  \"selections\": [{\"id\": \"cup\", \"prompt\": \"the cup\", \"output\": \"rle\"}, {\"id\": \"table\", \"coordinates\": [[20, 20]], \"output\": \"rle\"}]
}" | cut -c 1-180
