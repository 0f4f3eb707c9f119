#!/bin/bash
# A part of the Spark cluster of the profile `spark`: start.sh master, worker or thrift. Everything that is kept is in the
# volume /opt/spark/work-dir: tables, Derby's catalog, and the jars for a bucket.
set -euo pipefail
kept=/opt/spark/work-dir

# Hadoop asks for the name of the user, and the user of the host is not in the image
if ! getent passwd "$(id -u)" >/dev/null; then
    printf 'spark:x:%s:%s::/tmp:/bin/false\n' "$(id -u)" "$(id -g)" >/tmp/passwd
    wrapper=$(find /usr/lib /lib -name libnss_wrapper.so -print -quit)
    export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/etc/group
fi
# an empty key would count as one
for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL; do
    [[ -n ${!name:-} ]] || unset "$name"
done

part() { # part CLASS OPTION...
    local class=$1
    shift
    exec /opt/spark/bin/spark-class "org.apache.spark.deploy.$class" "$@"
}

thrift() {
    local settings=(
        spark.driver.host=spark-thrift
        spark.driver.bindAddress=0.0.0.0
        spark.driver.memory=1g
        spark.executor.memory="$SPARK_EXECUTOR_MEMORY"
        spark.ui.enabled=false
        spark.sql.session.timeZone=UTC
        spark.sql.warehouse.dir="$kept/tables"
        "spark.hadoop.javax.jdo.option.ConnectionURL=jdbc:derby:;databaseName=$kept/catalog;create=true"
        spark.driver.extraJavaOptions=-Dderby.stream.error.file=/tmp/derby.log
    )
    if [[ ${BRONZE_DIR:-} == s3://* ]]; then
        # the client of S3, in the version of the image's Hadoop: 600 MB from Maven Central, at the first start. Spark sends
        # it to the workers, and takes the keys and the endpoint from the variables of this container
        local hadoop
        hadoop=$(basename /opt/spark/jars/hadoop-client-api-*.jar .jar)
        settings+=(
            spark.jars.packages="org.apache.hadoop:hadoop-aws:${hadoop#hadoop-client-api-}"
            spark.jars.ivy="$kept/ivy"
            spark.hadoop.fs.s3a.endpoint.region="${AWS_REGION:-us-east-1}"
        )
        [[ -z ${AWS_ENDPOINT_URL:-} ]] || settings+=(spark.hadoop.fs.s3a.path.style.access=true)
    fi
    local options=()
    for setting in "${settings[@]}"; do options+=(--conf "$setting"); done
    exec /opt/spark/bin/spark-submit --master spark://spark-master:7077 "${options[@]}" \
        --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 spark-internal \
        --hiveconf hive.server2.thrift.bind.host=0.0.0.0 --hiveconf hive.server2.thrift.port="$SPARK_PORT" \
        --hiveconf hive.server2.authentication=NOSASL
}

case $1 in
master) part master.Master --host spark-master --port 7077 ;;
worker) part worker.Worker --cores 1 --memory "$SPARK_EXECUTOR_MEMORY" --work-dir /tmp/work spark://spark-master:7077 ;;
thrift) thrift ;;
esac
