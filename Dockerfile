# segmind-gateway. The final stage has only Node.js, production packages and the compiled code.
#   docker build -t segmind-gateway .
#   docker run --rm -p 8080:8080 -e SANDBOX=true segmind-gateway          try it without a Segmind key
# The running container writes to /data (the embedded store), /teams (the teams file) and /tmp only.

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No package needs its install script: native modules (fs-native-extensions, lmdb, sharp) come prebuilt for the image.
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts

FROM packages AS build
RUN --mount=type=cache,target=/root/.npm npm ci --include=dev --ignore-scripts
COPY tsconfig.json ./
COPY .tools ./.tools
COPY src ./src
RUN npm run build
# Initial content of a new volume for the teams file: a valid file without teams.
RUN mkdir -p /empty/data /empty/teams \
 && printf '%s\n' '# Teams and their keys. To make a key: docker compose run --rm gateway keys create <team>' 'teams: []' > /empty/teams/teams.yaml

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="segmind-gateway" \
      org.opencontainers.image.description="Self-hosted gateway that shares one Segmind SAM v2 key inside a company" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9464 \
    SHUTDOWN_DELAY_MS=5000 \
    DATA_DIR=/data \
    TEAMS_FILE=/teams/teams.yaml
WORKDIR /app
# The code belongs to root. The gateway runs as `node` (uid 1000) and cannot change it.
COPY --from=packages /app/node_modules ./node_modules
COPY package.json openapi.yaml LICENSE ./
COPY docs/runbook.md ./docs/
COPY --from=build /app/dist ./dist
COPY --from=build --chown=node:node /empty/ /
RUN chmod 755 dist/main.js && ln -s /app/dist/main.js /usr/local/bin/segmind-gateway
USER node
VOLUME ["/data", "/teams"]
EXPOSE 8080 9464
# On SIGTERM, paid calls finish, for at most SHUTDOWN_TIMEOUT_MS. Give `docker stop` more time than that (-t 140).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["node", "/app/dist/main.js", "health"]
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["serve"]
