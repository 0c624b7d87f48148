import Config

config :phoenix, json_library: JSON

config :rooms, Rooms.Endpoint,
  adapter: Bandit.PhoenixAdapter,
  server: true,
  url: [host: "127.0.0.1"],
  pubsub_server: Rooms.PubSub,
  secret_key_base: String.duplicate("s", 64),
  live_view: [signing_salt: "signsign"]

# a line for each message would be most of the work
config :logger, level: :warning
