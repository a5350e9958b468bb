# What carpd does on this node, for the prompt of a shell. In ~/.bashrc:
#
#     . /usr/share/carpd/carpd-prompt.sh
#     PS1='$(carpd_prompt)\u@\h:\w\$ '
#
# [carpd: 2 master, 1 backup]
# [carpd: maintenance: 3 backup]
# [carpd: 1 with a problem: 1 master, 1 init]
#
# Arguments are passed on to `carpd status`. If the daemon does not run, hangs or may not be asked, it says nothing: a prompt must not wait.
carpd_prompt() {
    _carpd_said=$(timeout 0.5 carpd status --short "$@" 2>/dev/null) || return 0
    # 3 virtual hosts: 2 master, 1 backup; no problems
    _carpd_first=${_carpd_said%%
*}
    _carpd_states=${_carpd_first#*: }
    _carpd_problems=${_carpd_states#*; }
    _carpd_states=${_carpd_states%%;*}
    case $_carpd_said in
        *'
  in maintenance since '*) printf '[carpd: maintenance: %s] ' "$_carpd_states" ;;
        *'; no problems'*) printf '[carpd: %s] ' "$_carpd_states" ;;
        *) printf '[carpd: %s: %s] ' "$_carpd_problems" "$_carpd_states" ;;
    esac
}
