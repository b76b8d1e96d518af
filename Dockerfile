# The image of every role: a static binary on Alpine, whose wget makes the health checks.
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG RELEASE=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=${RELEASE}" -o /carillon ./cmd/carillon

FROM alpine:3.22
RUN adduser -D -H -u 10001 carillon && install -d -o carillon -g carillon -m 0700 /data
COPY --from=build /carillon /usr/local/bin/carillon
USER carillon
# Where the broker of `serve` and `broker` keeps everything; the roles leave it empty.
VOLUME /data
ENV CARILLON_DATA=/data CARILLON_HTTP_LISTEN=:8080 CARILLON_SESSIONS_LISTEN=:8081
EXPOSE 8080 8081 4222 6222
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["carillon"]
CMD ["serve"]
