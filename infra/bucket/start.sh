#!/bin/sh
# SeaweedFS with one bucket, for a try-out: an S3 server on one disk. It takes the keys and the name of the bucket that
# the pipeline uses.
set -eu
umask 077
: "${AWS_ACCESS_KEY_ID:?set it in .env}" "${AWS_SECRET_ACCESS_KEY:?set it in .env}"
bucket=${BRONZE_DIR#s3://}
bucket=${bucket%%/*}
cat >/tmp/s3.json <<EOF
{"identities": [{"name": "pipeline", "actions": ["Admin", "Read", "Write", "List"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
EOF
# waits until the server answers
(
    until echo "s3.bucket.list" | weed shell -master localhost:9333 2>/dev/null | grep -qw "$bucket"; do
        echo "s3.bucket.create -name $bucket" | weed shell -master localhost:9333 >/dev/null 2>&1 || true
        sleep 2
    done
    touch /tmp/ready
) &
exec weed -logtostderr=true server -dir=/data -ip.bind=0.0.0.0 -master.telemetry=false -master.volumeSizeLimitMB=1024 -volume.max=0 \
    -filer -s3 -s3.port=8333 -s3.config=/tmp/s3.json
