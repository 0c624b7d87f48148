# The smallest counterpart of libcluster's Cluster.Strategy.Gossip, on the loopback interface: the same datagrams, the same
# encryption, the same calls of gen_udp, net_kernel and crypto. GOSSIP_PORT, GOSSIP_SECRET (may be empty) and GOSSIP_MODE
# (announce, listen or both) say what it does.
defmodule Gossip do
  @group {233, 252, 1, 32}
  @lo {127, 0, 0, 1}

  def run do
    port = String.to_integer(System.fetch_env!("GOSSIP_PORT"))
    mode = System.fetch_env!("GOSSIP_MODE")
    secret = System.get_env("GOSSIP_SECRET", "")

    {:ok, socket} =
      :gen_udp.open(port, [
        :binary,
        active: true,
        ip: {0, 0, 0, 0},
        reuseaddr: true,
        broadcast: true,
        multicast_if: @lo,
        multicast_ttl: 1,
        multicast_loop: true,
        add_membership: {@group, @lo}
      ])

    IO.puts("ready #{node()} #{port}")
    if mode != "listen", do: send(self(), :heartbeat)
    loop(socket, port, if(secret == "", do: nil, else: secret), mode != "announce")
  end

  defp loop(socket, port, secret, listens) do
    receive do
      :heartbeat ->
        :ok = :gen_udp.send(socket, @group, port, seal(secret, "heartbeat::" <> :erlang.term_to_binary(%{node: node()})))
        Process.send_after(self(), :heartbeat, :rand.uniform(500))

      {:udp, _, _, _, packet} when listens ->
        with {:ok, "heartbeat::" <> term} <- open(secret, packet),
             %{node: n} when is_atom(n) <- :erlang.binary_to_term(term),
             false <- n in [node() | Node.list(:connected)] do
          IO.puts("#{n}: #{inspect(Node.connect(n))}")
        end

      _ ->
        :ok
    end

    loop(socket, port, secret, listens)
  end

  defp seal(nil, text), do: text

  defp seal(secret, text) do
    iv = :crypto.strong_rand_bytes(16)
    pad = 16 - rem(byte_size(text), 16)
    [iv, :crypto.crypto_one_time(:aes_256_cbc, :crypto.hash(:sha256, secret), iv, text <> :binary.copy(<<pad>>, pad), true)]
  end

  defp open(nil, text), do: {:ok, text}

  defp open(secret, <<iv::binary-size(16), sealed::binary>>) when rem(byte_size(sealed), 16) == 0 and sealed != "" do
    text = :crypto.crypto_one_time(:aes_256_cbc, :crypto.hash(:sha256, secret), iv, sealed, false)
    pad = :binary.last(text)
    size = byte_size(text) - pad

    if pad <= 16 and binary_part(text, size, pad) == :binary.copy(<<pad>>, pad),
      do: {:ok, binary_part(text, 0, size)},
      else: :error
  end

  defp open(_, _), do: :error
end

Gossip.run()
