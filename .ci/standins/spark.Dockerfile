# apache/spark, made of PyPI's pyspark on Debian, where the real one is Spark's archive on Ubuntu: the same folders, user and
# group, and no entry point.
ARG BASE
FROM ${BASE}
ARG VERSION
# slim images have no folder for the manual, and the package of Java links into it
RUN mkdir -p /usr/share/man/man1 && apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless libnss-wrapper procps tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 185 spark && useradd --system --uid 185 --gid spark --home-dir /nonexistent spark
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps --target /tmp/found "pyspark==${VERSION}" \
    && mkdir -p /opt/spark/work-dir && mv /tmp/found/pyspark/jars /tmp/found/pyspark/bin /tmp/found/pyspark/sbin /opt/spark/ \
    && rm -rf /tmp/found && chmod g+w /opt/spark/work-dir && chown -R spark:spark /opt/spark
ENV SPARK_HOME=/opt/spark
WORKDIR /opt/spark/work-dir
USER spark
