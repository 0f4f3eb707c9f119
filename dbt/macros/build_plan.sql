{#- Return the mode of this run of dbt. `build`: `pipeline build` has written a plan. `fingerprint`: dbt only compiles,
    as for a full refresh. `whole`: a build on Spark. Empty: dbt is run by hand. In both, dbt rebuilds every table in full
    and runs every test over all rows.
-#}
{% macro pipeline_mode() -%}
    {{ return(env_var('PIPELINE_DBT_MODE', '') if execute else '') }}
{%- endmacro %}

{#- Return the plan of the build by the node's `unique_id`: `mode` is full, incremental, all or changed; `changes` is
    the name of the table of changed rows. The plan is read once for all nodes.
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

{#- Return whether this node processes only changed rows in the plan. -#}
{% macro is_planned_incremental(unique_id) -%}
    {{ return(build_plan().get(unique_id, {}).get('mode') in ('incremental', 'changed')) }}
{%- endmacro %}

{#- Override dbt's check for a full refresh: a build has already dropped the tables that it rebuilds in full; if dbt is
    run by hand, it rebuilds every table in full.
-#}
{% macro should_full_refresh() -%}
    {%- if config.get('full_refresh') is not none -%}
        {{ return(config.get('full_refresh')) }}
    {%- endif -%}
    {{ return(flags.FULL_REFRESH or pipeline_mode() != 'build') }}
{%- endmacro %}
