# The mix task, with the program and with one that only shows what it is called with.
[task, program, node, dir] = System.argv()
Mix.start()
Mix.shell(Mix.Shell.Process)
Code.compile_file(task)
alias Mix.Tasks.Cnode.Gen

formatted = fn path -> IO.iodata_to_binary([Code.format_string!(File.read!(path)), "\n"]) == File.read!(path) end
true = formatted.(task)

go = Path.join(dir, "bare.go")
:ok = apply(Gen, :run, [["--from", node, "--cookie", System.get_env("COOKIE"), "--program", program, "--struct", "Shop.Bare", "-o", go]])
true = File.read!(go) =~ "func NewBare() Bare {"

shown = Path.join(dir, "shown.ex")
shows = Path.join(dir, "shows")
File.write!(shows, "#!/bin/sh\necho \"[   '$*']\" >#{shown}\nexit $STATUS\n")
File.chmod!(shows, 0o755)
System.put_env("STATUS", "0")
for args <- [["-o", shown], ["--output", shown], ["-o" <> shown], ["--output=" <> shown]] do
  :ok = apply(Gen, :run, [["--program=" <> shows, "--go", "a.B" | args]])
  true = formatted.(shown)
  true = File.read!(shown) =~ Enum.join(["--go a.B" | args], " ")
end

System.put_env("STATUS", "3")
{:shutdown, 3} =
  try do
    apply(Gen, :run, [["--program", shows, "--help"]])
  catch
    :exit, reason -> reason
  end

System.put_env("STATUS", "0")
Application.put_env(:cnode, :gen_program, shows)
:ok = apply(Gen, :run, [["--help"]])
Application.put_env(:cnode, :gen_program, Path.join(dir, "none"))
message =
  try do
    apply(Gen, :run, [["--help"]])
  rescue
    e in Mix.Error -> e.message
  end
true = message =~ "go install"
Application.delete_env(:cnode, :gen_program)
System.put_env("PATH", dir <> ":" <> System.get_env("PATH"))
File.rename!(shows, Path.join(dir, "cnode-gen"))
:ok = apply(Gen, :run, [["--help"]])
IO.puts("all of it")
