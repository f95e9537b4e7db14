# Stands in for Haconiwa: evaluates one .haco file, writes down what it says, does nothing of it, and prints that as JSON.
#
# It keeps nobody from anything: the container that it runs in does. The file it evaluates may even redefine it, and then
# only misreports itself.
#
# Arguments: the file, the name that it goes by in messages, and NAME=value for its ENV.

HACO_PATH = ARGV[0]
HACO_NAME = ARGV[1]
HACO_TEXT = File.open(HACO_PATH) { |f| f.read.to_s }
HACO_LINES = HACO_TEXT.split("\n")

module Recorder
  NOTES = []
  CONTAINERS = []
  # A line of output that starts so is the record.
  MARK = "\x1etsubo-record "

  class Ended < Exception; end

  # The line of the file that is being evaluated.
  def self.line
    caller.each do |frame|
      next unless frame.start_with?(HACO_NAME + ":")
      return frame[(HACO_NAME.size + 1)..-1].to_i
    end
    nil
  end

  def self.note(kind, text)
    one = { "kind" => kind, "line" => line, "text" => text }
    NOTES << one unless NOTES.include?(one)
    nil
  end

  # The text of a block, from the call that it was given to up to its end: the least that Ruby can parse.
  def self.source(word, block)
    place = block && block.source_location
    return [nil, nil] unless place && place[0] == HACO_NAME
    first, last = [place[1], HACO_LINES.size].min, HACO_LINES.size
    start = first
    while start > 0 && start > first - 300
      if HACO_LINES[start - 1].include?(word)
        ending = start
        while ending <= last && ending < start + 300
          text = HACO_LINES[(start - 1)..(ending - 1)].join("\n")
          if ending >= first && whole?(text)
            return [start, text]
          end
          ending += 1
        end
      end
      start -= 1
    end
    [first, HACO_LINES[first - 1]]
  end

  def self.whole?(text)
    last = text.split("\n").last.to_s
    return false unless last.include?("end") || last.include?("}")
    eval("->(){ #{text}\n }")
    true
  rescue SyntaxError, StandardError
    false
  end

  def self.json(value)
    case value
    when nil, true, false then value.nil? ? "null" : value.to_s
    when Integer then value.to_s
    when Float then value.nan? || value.infinite? ? "null" : value.to_s
    when Array then "[" + value.map { |one| json(one) }.join(",") + "]"
    when Hash then "{" + value.map { |key, one| json(key.to_s) + ":" + json(one) }.join(",") + "}"
    when Record then json(value.fields)
    else text(value.to_s)
    end
  end

  def self.text(string)
    out = "\""
    string.each_char do |c|
      out << if c == "\"" || c == "\\" then "\\" + c
             elsif c.bytes.size == 1 && c.bytes[0] < 0x20 then "\\u%04x" % c.bytes[0]
             else c
             end
    end
    out << "\""
  end

  # Something whose words are kept as they are said. What is not a word of Haconiwa's is kept too.
  class Record
    def fields
      @fields ||= {}
    end

    def others
      @fields ||= {}
      @fields["others"] ||= []
    end

    def other(word, args, block)
      said = args.map { |arg| arg.is_a?(String) ? arg : arg.inspect }.join(", ")
      line, source = Recorder.source(word, block)
      others << { "word" => word, "value" => said, "line" => line || Recorder.line, "source" => source }
      nil
    end

    def respond_to_missing?(*)
      true
    end

    def method_missing(name, *args, &block)
      name = name.to_s
      if name[-1] == "=" && args.size == 1
        word = name[0..-2]
        if self.class::WORDS.include?(word)
          fields[word] = args[0]
        else
          other(prefix + word, args, block)
        end
        return args[0]
      end
      return fields[name] if self.class::WORDS.include?(name) && args.empty? && block.nil?
      other(prefix + name, args, block)
      Unknown.new(prefix + name)
    end

    WORDS = []
    def prefix
      ""
    end
  end

  # What is only known when Haconiwa itself runs. It goes along with everything that is done with it.
  class Unknown
    def initialize(name)
      @name = name
    end

    def to_s
      "<" + @name + ">"
    end
    alias to_str to_s
    alias inspect to_s

    def to_i
      0
    end

    def to_ary
      nil
    end

    def to_proc
      proc { |*| self }
    end

    def respond_to_missing?(*)
      true
    end

    def method_missing(name, *_args)
      Unknown.new(@name + "." + name.to_s)
    end
  end

  class Part < Record
    def initialize(owner, prefix)
      @owner = owner
      @prefix = prefix
    end

    def prefix
      @prefix + "."
    end

    def other(word, args, block)
      @owner.other(word, args, block)
    end
  end
end

module Recorder
  # A constant that is not there is Haconiwa's own, or one of its libraries'.
  def self.constant(name)
    Recorder.note("constant", name)
    made = Class.new
    made.instance_variable_set(:@haco_name, name)
    class << made
      def new(*)
        Recorder::Unknown.new(@haco_name + ".new")
      end

      def to_s
        "<" + @haco_name + ">"
      end
      alias inspect to_s

      def const_missing(name)
        Recorder.constant(@haco_name + "::" + name.to_s)
      end

      def method_missing(name, *_args)
        Recorder::Unknown.new(@haco_name + "." + name.to_s)
      end
    end
    made
  end
end

class Module
  def const_missing(name)
    Recorder.constant(self == Object || self == Recorder ? name.to_s : "#{self}::#{name}")
  end
end

# What Haconiwa's mruby has and the ordinary one has not.

class HacoEnv
  def initialize(values)
    @values = values
  end

  def [](name)
    Recorder.note("env", name.to_s) unless @values.key?(name.to_s)
    @values[name.to_s]
  end

  def []=(name, value)
    @values[name.to_s] = value
  end

  def fetch(name, fallback = nil)
    value = self[name]
    return value unless value.nil?
    block_given? ? yield(name) : fallback
  end

  def key?(name)
    @values.key?(name.to_s)
  end
  alias include? key?
  alias has_key? key?

  def to_h
    @values.dup
  end
  alias to_hash to_h
end

pairs = {}
(ARGV[2..-1] || []).each do |pair|
  at = pair.index("=")
  pairs[pair[0...at]] = pair[(at + 1)..-1] if at
end
ENV = HacoEnv.new(pairs)

class Pathname
  def initialize(path)
    @path = path.to_s
  end

  def to_s
    @path
  end
  alias to_str to_s
  alias to_path to_s

  def inspect
    "#<Pathname:#{@path}>"
  end

  def join(*more)
    all = more.inject(@path) do |path, one|
      one = one.to_s
      one.start_with?("/") ? one : (path == "/" ? "/" + one : path + "/" + one)
    end
    Pathname.new(all)
  end
  alias + join
  alias / join

  def basename
    Pathname.new(@path.split("/").last.to_s)
  end

  def dirname
    parts = @path.split("/")
    Pathname.new(parts.size <= 2 ? "/" : parts[0..-2].join("/"))
  end
  alias parent dirname

  def exist?
    File.exist?(@path)
  end

  def ==(other)
    to_s == other.to_s
  end
end

def Pathname(path)
  Pathname.new(path)
end

module SHA1
  # Only something that stays the same and looks like one: it names things.
  def self.sha1_hex(text)
    Recorder.note("value", "SHA1.sha1_hex")
    sums = [5381, 52711, 648391, 31337, 174440041 % 65521]
    text.to_s.bytes.each_with_index do |byte, i|
      sums = sums.each_with_index.map { |sum, j| (sum * 33 + byte * (j + 1) + i) % 4294967291 }
    end
    sums.map { |sum| "%08x" % sum }.join
  end
end

module UUID
  def self.secure_uuid(format = nil)
    Recorder.note("value", "UUID.secure_uuid")
    format ? format.gsub("%04x", "0001").gsub("%d", "256") : "00000000-0000-4000-8000-000000000000"
  end

  def self.secure_random(range)
    Recorder.note("value", "UUID.secure_random")
    range.respond_to?(:first) ? range.first : 0
  end
end

class String
  %w(red green yellow blue magenta cyan white).each do |colour|
    define_method(colour) { self } unless "".respond_to?(colour)
  end
end

module Process
  RLIM_INFINITY = "unlimited"
  def self.pid
    1
  end

  def self.method_missing(name, *args)
    Recorder.note("call", "Process.#{name}")
    Recorder::Unknown.new("Process.#{name}")
  end
end

module Kernel
  def system(*command)
    Recorder.note("command", command.map { |word| word.to_s }.join(" "))
    true
  end

  def `(command)
    Recorder.note("command", command.to_s)
    ""
  end

  def exec(*command)
    Recorder.note("command", command.map { |word| word.to_s }.join(" "))
    raise Recorder::Ended
  end

  def fork(*)
    Recorder.note("call", "fork")
    nil
  end

  def require(name)
    Recorder.note("call", "require #{name.inspect}")
    true
  end
  alias require_relative require
  alias load require

  def sleep(*)
    0
  end

  def exit(*)
    raise Recorder::Ended
  end
  alias exit! exit
  alias abort exit

  def warn(*lines)
    $stderr.puts(*lines)
  end

  def usleep(*)
    0
  end
end

class << IO
  def popen(command, *)
    Recorder.note("command", command.to_s)
    StringIO.new("")
  end
end

module Haconiwa
  VERSION = "0.11.0"

  module Logger
    INFO = 1
    DEBUG = 0
    def self.method_missing(name, *lines)
      $stderr.puts(*lines)
      raise(lines[0].to_s) if name == :exception
    end
  end

  class Bootstrap < Recorder::Part
    WORDS = %w(strategy root project_name os_type arch variant components debian_release mirror_url git_url git_options
               archive_path tar_options code)
    def code(text = nil, &block)
      return fields["code"] if text.nil? && block.nil?
      fields["code"] = text || Recorder.source("code", block)[1]
    end
  end

  class Provision < Recorder::Part
    WORDS = %w(root extra_bind)
    def run_shell(body, options = {})
      (fields["steps"] ||= []) << { "name" => options[:name], "shell" => options[:sh], "body" => body }
    end
  end

  class Command < Recorder::Part
    WORDS = %w(init_command session_leader)
    %w(stdin stdout stderr).each do |stream|
      define_method("set_" + stream) { |options| fields[stream] = options }
    end
  end

  class CGroup < Recorder::Part
    WORDS = %w(assign_only)
    def values
      fields["values"] ||= {}
    end

    def [](key)
      values[key.to_s]
    end

    def []=(key, value)
      values[key.to_s] = value
    end

    def name=(name)
      @owner.fields["cgroup_name"] = name
    end
  end

  class Resource < Recorder::Part
    def set_limit(kind, soft, hard = nil)
      (fields["limits"] ||= []) << [kind, soft, hard.nil? ? soft : hard]
    end
  end

  class NamespaceOptions < Recorder::Part
    def unshare(kind, options = {})
      (fields["own"] ||= {})[kind.to_s] = options || {}
    end

    def enter(kind, place)
      (fields["entered"] ||= {})[kind.to_s] = place.is_a?(Hash) ? place[:via] : place
    end

    def use_netns(name)
      enter("net", "/var/run/netns/#{name}")
    end

    def set_uid_mapping(range)
      unshare("user")
      fields["uids"] = range
    end

    def set_gid_mapping(range)
      unshare("user")
      fields["gids"] = range
    end
  end

  class Capabilities < Recorder::Part
    # "usual", "all", or "none": what is added and taken away goes from there.
    def initialize(*)
      super
      clear("usual")
    end

    def clear(base)
      fields["base"] = base
      fields["add"] = []
      fields["drop"] ||= []
    end

    def reset_to_privileged!
      clear("all")
      fields["drop"] = []
    end

    def allow(*names)
      return clear("all") if names[0].to_s == "all"
      fields["base"] = "none" if fields["base"] == "all"
      fields["add"].concat(names)
    end

    def drop(*names)
      fields["drop"].concat(names)
    end
  end

  class Rules
    def initialize(list)
      @list = list
    end

    def method_missing(name, *args)
      @list << [name.to_s] + args
      nil
    end
  end

  class Seccomp < Recorder::Part
    def filter(options = {})
      fields["default"] = options[:default]
      fields["rules"] = []
      yield(Rules.new(fields["rules"])) if block_given?
    end
  end

  class Rootfs < Recorder::Part
    WORDS = %w(root readonly owner_uid owner_gid)
    def to_s
      fields["root"].to_s
    end
    alias to_str to_s
  end

  class Filesystem < Recorder::Part
    WORDS = %w(use_legacy_chroot skip_make_rslave_on_host_root)
    def rootfs
      @owner.rootfs
    end

    def chroot
      rootfs.to_s
    end

    def mount_independent(kind)
      @owner.mount_independent(kind)
    end

    def add_masked_path(path)
      (fields["masked"] ||= []) << path
    end
  end

  class Network < Recorder::Part
    WORDS = %w(container_ip bridge_ip bridge_name netmask namespace cleanup veth_host veth_guest)
  end

  class Checkpoint < Recorder::Part
    WORDS = %w(images_dir log_level criu_log_file criu_service_address criu_bin_path criu_use_tcp_established
               leave_running extra_criu_options extra_criu_externals)
    def target_syscall(*args)
      fields["target_syscall"] = args unless args.empty?
      fields["target_syscall"]
    end

    def add_action_script(script)
      (fields["action_scripts"] ||= []) << script
    end
  end

  class Container < Recorder::Record
    WORDS = %w(name hostname workdir environ uid gid groups apparmor apparmor_profile lxcfs_root wait_interval
               use_legacy_watchdog metadata container_pid_file log_level run_as_restore project_name)
    PARTS = { "command" => Command, "resource" => Resource, "namespace" => NamespaceOptions, "capabilities" => Capabilities,
              "seccomp" => Seccomp, "filesystem" => Filesystem, "rootfs" => Rootfs, "network" => Network,
              "checkpoint" => Checkpoint, "bootstrap" => Bootstrap, "provision" => Provision }
    attr_reader :children

    def initialize
      @children = []
      @parts = {}
    end

    def fields
      super.merge!(@parts)
    end

    PARTS.each do |name, kind|
      define_method(name) do |&block|
        part = (@parts[name] ||= kind.new(self, name))
        block.call(part) if block
        part
      end
    end
    alias capability capabilities

    def cgroup(version = nil, &block)
      word = version.to_s == "v2" ? "cgroup_v2" : "cgroup"
      part = (@parts[word] ||= CGroup.new(self, word))
      block.call(part) if block
      part
    end

    def cgroupv2
      cgroup("v2")
    end

    # What is defined inside has everything that was said before it.
    def define
      child = Container.new
      child.inherit(fields)
      yield(child)
      @children << child
    end

    def inherit(fields)
      @fields = Recorder::Copy.of(fields.reject { |key, _| @parts.key?(key) || PARTS.key?(key) || key.start_with?("cgroup") })
      PARTS.each { |name, _| send(name).fields.merge!(Recorder::Copy.of(fields[name].fields)) if fields[name] }
      cgroup.fields.merge!(Recorder::Copy.of(fields["cgroup"].fields)) if fields["cgroup"]
      cgroup("v2").fields.merge!(Recorder::Copy.of(fields["cgroup_v2"].fields)) if fields["cgroup_v2"]
      @fields["inherited_name"] = @fields.delete("name") if @fields["name"]
    end

    def init_command=(command)
      @fields ||= {}
      @fields["init_command"] = command.is_a?(Array) ? command : [command]
    end

    def init_command
      fields["init_command"]
    end

    def cgroup_name=(name)
      fields["cgroup_name"] = name
    end

    def daemonize!
      fields["daemon"] = true
    end

    def cancel_daemonize!
      fields["daemon"] = false
    end

    def acts_as_session_leader
      command.session_leader = true
    end

    def chroot_to(path)
      rootfs.root = path.to_s
    end

    def rootfs_owner(options)
      rootfs.fields["owner_uid"] = options[:uid]
      rootfs.fields["owner_gid"] = options[:gid]
    end

    def support_reload(*names)
      fields["reload"] = (fields["reload"] || []) + names
    end

    def add_mount_point(source, options = {})
      namespace.unshare("mount")
      (fields["mounts"] ||= []) << { "line" => Recorder.line, "source" => source.to_s, "options" => options }
    end

    def mount_independent(kind)
      (fields["independent"] ||= []) << kind
    end

    def mount_independent_procfs
      mount_independent("procfs")
    end

    def mount_network_etc(root, options = {})
      fields["network_etc"] = { "root" => root.to_s, "host_root" => (options[:host_root] || "/etc").to_s }
    end

    def skip_bootstrap
      fields["skip_bootstrap"] = true
    end
    alias skip_provision skip_bootstrap

    def validate_real_id(&block)
      other("validate_real_id", [], block)
    end

    def current_subcommand
      Haconiwa.current_subcommand
    end

    def name
      fields["name"] || fields["inherited_name"]
    end

    def hook(kind, word, on, options, block)
      line, source = Recorder.source(word, block)
      one = { "kind" => kind, "on" => on, "options" => options, "line" => line || Recorder.line, "source" => source }
      (fields["hooks"] ||= []) << one
    end

    def add_general_hook(point, &block)
      hook("general", "add_general_hook", point, {}, block)
    end

    def add_signal_handler(signal, &block)
      hook("signal", "_handler", signal, {}, block)
    end
    alias add_handler add_signal_handler

    def add_async_hook(options = {}, &block)
      hook("timer", "add_async_hook", nil, options, block)
    end

    def after_spawn(options = {}, &block)
      hook("timer", "after_spawn", nil, options, block)
    end

    def add_readiness_hook(options = {}, &block)
      hook("readiness", "add_readiness_hook", nil, options, block)
    end

    def add_cgroup_hook(options = {}, &block)
      hook("cgroup", "add_cgroup_hook", options[:type], options, block)
    end
  end

  def self.current_subcommand
    "run"
  end

  def self.define
    barn = Container.new
    yield(barn)
    Recorder::CONTAINERS.concat(barn.children.empty? ? [barn] : barn.children)
    barn
  end

  def self.Base(&block)
    define(&block)
  end

  class Base
    def self.define(&block)
      Haconiwa.define(&block)
    end
  end

  def self.method_missing(name, *_args)
    Recorder.note("call", "Haconiwa.#{name}")
    Recorder::Unknown.new("Haconiwa.#{name}")
  end
end

module Recorder
  # Deep enough for what a definition holds.
  module Copy
    def self.of(value)
      case value
      when Hash then value.map { |key, one| [key, of(one)] }.to_h
      when Array then value.map { |one| of(one) }
      else value
      end
    end
  end

  def self.where(error)
    frame = (error.backtrace || []).find { |one| one.start_with?(HACO_NAME + ":") }
    return frame[(HACO_NAME.size + 1)..-1].to_i if frame
    at = error.message.index("line ")
    error.is_a?(SyntaxError) && at ? error.message[(at + 5)..-1].to_i : nil
  end

  def self.failure(error)
    message = error.message.to_s
    at = message.index(": ")
    message = message[(at + 2)..-1] if error.is_a?(SyntaxError) && at
    { "class" => error.class.to_s, "message" => message, "line" => where(error) }
  end
end

# Not inside of a module: what the file defines belongs to the top.
failure = nil
begin
  eval(HACO_TEXT, nil, HACO_NAME, 1)
rescue Recorder::Ended
  failure = nil
rescue Exception => error
  failure = Recorder.failure(error)
end
$stdout.puts ""
$stdout.puts Recorder::MARK + Recorder.json({ "containers" => Recorder::CONTAINERS, "notes" => Recorder::NOTES, "error" => failure })
