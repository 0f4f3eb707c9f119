{#- What dbt is started for: `build` by `pipeline build`, which has written a plan; `fingerprint`, where it only compiles,
    as of a full refresh; or empty: by hand, where every table is made whole and every test sees all rows.
-#}
{% macro pipeline_mode() -%}
    {{ return(env_var('PIPELINE_DBT_MODE', '') if execute else '') }}
{%- endmacro %}

{#- The plan of the build by the node's `unique_id`: `mode` is full, incremental, all or changed; `changes` names the
    table of the rows that changed. Read once for all nodes.
-#}
{% macro build_plan() -%}
    {%- if 'pipeline_plan' not in graph -%}
        {%- set plan = {} -%}
        {%- if pipeline_mode() == 'build' -%}
            {%- for row in run_query('select node, mode, changes, compare_last_seen from _pipeline.plan').rows -%}
                {%- do plan.update({row[0]: {'mode': row[1], 'changes': row[2], 'compare_last_seen': row[3]}}) -%}
            {%- endfor -%}
        {%- endif -%}
        {%- do graph.update({'pipeline_plan': plan}) -%}
    {%- endif -%}
    {{ return(graph['pipeline_plan']) }}
{%- endmacro %}

{#- Whether the plan has this node process only what changed. -#}
{% macro is_planned_incremental(unique_id) -%}
    {{ return(build_plan().get(unique_id, {}).get('mode') in ('incremental', 'changed')) }}
{%- endmacro %}

{#- In a build, tables to make in full were dropped before; by hand, every table is made in full. -#}
{% macro should_full_refresh() -%}
    {%- if config.get('full_refresh') is not none -%}
        {{ return(config.get('full_refresh')) }}
    {%- endif -%}
    {{ return(flags.FULL_REFRESH or pipeline_mode() != 'build') }}
{%- endmacro %}
